// What runs here.
import { useAsk } from "../api/ask";
import { text } from "../text";
import { Status } from "../ui/messages";
import { Fact } from "./plant/device";

export default function About() {
  const answer = useAsk("about");
  const about = answer.data;
  const { head, tiers } = text.about;
  return (
    <>
      <h1>{text.nav.about}</h1>
      <Status of={answer} />
      {about && (
        <>
          <section class="card">
            <dl class="facts">
              <Fact name="Nexus Edge">{about.version}</Fact>
              <Fact name="Python">{about.python}</Fact>
              <Fact name={text.plant.number.database}>{tiers[about.tier] ?? about.tier}</Fact>
              <Fact name="API">
                <a href="/api/v1/docs" target="_blank" rel="noreferrer">
                  {text.about.api}
                </a>
              </Fact>
            </dl>
          </section>
          <section aria-labelledby="licences">
            <h2 id="licences">{text.about.licences}</h2>
            <p class="dim">{text.about.own}</p>
            <div class="scroll" tabIndex={0}>
              <table class="rows">
                <thead>
                  <tr>
                    <th>{head.name}</th>
                    <th>{head.version}</th>
                    <th>{head.licence}</th>
                    <th class="wide">{head.part}</th>
                  </tr>
                </thead>
                <tbody>
                  {about.licences.map((one) => (
                    <tr key={`${one.part} ${one.name}`}>
                      <th scope="row">{one.name}</th>
                      <td>{one.version}</td>
                      <td>{one.licence ?? "–"}</td>
                      <td class="wide">{one.part === "pages" ? text.about.pages : text.about.program}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          </section>
        </>
      )}
    </>
  );
}
