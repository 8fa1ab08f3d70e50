// Who did what, when, from where; and what was refused.
import { useState } from "preact/hooks";
import { isOperator } from "../api/person";
import { text } from "../text";
import { brief } from "../topic";
import { Icon } from "../ui/icon";
import { Notice } from "../ui/messages";
import { Picker } from "../ui/picker";
import { AuditTable } from "./audit/table";

export default function Audit() {
  const [asked, setAsked] = useState<Record<string, string>>({});
  const set = (name: string, value: string) => setAsked({ ...asked, [name]: value.trim() });
  const day = (name: string, date: string, days: number) => {
    const at = new Date(`${date}T00:00`);
    at.setDate(at.getDate() + days);
    set(name, Number.isNaN(at.getTime()) ? "" : at.toISOString());
  };
  return (
    <>
      <div class="bar">
        <h1>{text.nav.audit}</h1>
        <input
          type="search"
          aria-label={text.audit.head.person}
          placeholder={text.audit.head.person}
          // Names are kept in small letters.
          onChange={(event) => set("person", event.currentTarget.value.toLowerCase())}
        />
        <select aria-label={text.audit.head.event} onChange={(event) => set("event", event.currentTarget.value)}>
          <option value="">{text.audit.everything}</option>
          {Object.entries(text.audit.events).map(([event, says]) => (
            <option key={event} value={event}>
              {says}
            </option>
          ))}
        </select>
        <label class="check">
          {text.audit.from}
          <input type="date" onChange={(event) => day("from", event.currentTarget.value, 0)} />
        </label>
        <label class="check">
          {text.audit.to}
          <input type="date" onChange={(event) => day("to", event.currentTarget.value, 1)} />
        </label>
        {asked.topic ? (
          <span class="chip">
            {brief(asked.topic)}
            <button class="quiet" onClick={() => set("topic", "")}>
              <Icon name="close" label={text.common.all} />
            </button>
          </span>
        ) : (
          <Picker label={text.audit.head.topic} chosen={[]} pick={(topic) => set("topic", topic)} />
        )}
      </div>
      {isOperator.value ? (
        <AuditTable asked={asked} buttons />
      ) : (
        <Notice kind="info">{text.common.needs(text.role.operator)}</Notice>
      )}
    </>
  );
}
