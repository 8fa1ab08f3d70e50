// What the plant's numbers are made of: each gateway, and ingestion.
import type { Plant } from "../../api/types";
import { bytes, count, duration, rough } from "../../format";
import { text } from "../../text";
import { Icon } from "../../ui/icon";
import { Age, State } from "../../ui/state";
import { Fact } from "./device";

const SOON_S = 86_400; // a spool that will be full is worth a word

export function Gateways({ plant }: { plant: Plant }) {
  const { number: name, head } = text.plant;
  return (
    <>
      {plant.gateways.length > 0 && (
        <section aria-labelledby="gateways">
          <h2 id="gateways">{text.plant.gateways}</h2>
          <div class="scroll" tabIndex={0}>
            <table class="rows">
              <thead>
                <tr>
                  <th>{head.gateway}</th>
                  <th>{head.state}</th>
                  <th class="num">{text.plant.devices}</th>
                  <th class="num">{name.readings}</th>
                  <th class="num">{name.lateness}</th>
                  <th class="num">{name.spool}</th>
                  <th class="num">{name.receipts}</th>
                  <th class="num">{head.heard}</th>
                  <th>{name.version}</th>
                </tr>
              </thead>
              <tbody>
                {plant.gateways.map((one) => (
                  <tr key={`${one.group}/${one.member}`}>
                    <th scope="row">
                      {one.group}/{one.member}
                    </th>
                    <td>
                      <State of={plant.broker.connected ? one.state : "unknown"} />
                    </td>
                    <td class="num">{count(one.devices)}</td>
                    <td class="num">
                      {rough(one.readings_per_second)} {one.readings_per_second !== null && name.perSecond}
                    </td>
                    <td class="num">{duration(one.lateness_p99)}</td>
                    <td class="num">
                      {count(one.spool_messages)} <small>{bytes(one.spool_bytes)}</small>
                      {one.spool_full_in !== null && one.spool_full_in < SOON_S && (
                        <small class="state warn">{text.plant.fullIn(duration(one.spool_full_in))}</small>
                      )}
                    </td>
                    <td class="num">{count(one.receipts_outstanding)}</td>
                    <td class="num">
                      <Age of={one.ts} />
                    </td>
                    <td>{one.version ?? "–"}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </section>
      )}
      <section aria-labelledby="ingestion">
        <h2 id="ingestion">{text.plant.ingestion}</h2>
        <dl class="facts">
          <Fact name={name.consumers}>
            {plant.ingestion.consumers.map((one) => (
              <span key={`${one.group}-${one.number}`} class={`state ${one.connected ? "normal" : "bad"}`}>
                <Icon name={one.connected ? "ok" : "bad"} />
                {one.group}-{one.number}{" "}
              </span>
            ))}
            {!plant.ingestion.consumers.length && "–"}
          </Fact>
          <Fact name={name.lag}>{duration(plant.ingestion.lag_seconds)}</Fact>
        </dl>
      </section>
    </>
  );
}
