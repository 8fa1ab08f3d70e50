// Shows the API's description, openapi.json, and asks it what people fill in.
const BASE = new URL("./", location.href);
const UNSAFE = new Set(["post", "put", "patch", "delete"]);
const DEEPEST = 6;

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function resolved(spec, schema) {
  const path = schema?.$ref?.slice(2).split("/");
  return path ? path.reduce((at, key) => at[key], spec) : (schema ?? {});
}

/** What a schema allows, as somebody would write it: {"topic": string, …}. */
function shape(spec, given, depth = 0) {
  const schema = resolved(spec, given);
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) return choices.map((one) => shape(spec, one, depth)).join(" | ");
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  if (depth > DEEPEST) return "…";
  const indent = "  ".repeat(depth + 1);
  if (schema.properties) {
    const lines = Object.entries(schema.properties).map(
      ([key, one]) => `${indent}"${key}"${schema.required?.includes(key) ? "" : "?"}: ${shape(spec, one, depth + 1)}`,
    );
    return `{\n${lines.join(",\n")}\n${"  ".repeat(depth)}}`;
  }
  if (schema.type === "array") return `[${shape(spec, schema.items, depth)}, …]`;
  return schema.format ?? schema.type ?? "any";
}

function limits(schema) {
  const said = ["default", "minimum", "maximum", "maxLength", "maxItems", "pattern"]
    .filter((name) => schema[name] !== undefined && schema[name] !== null)
    .map((name) => `${name} ${JSON.stringify(schema[name])}`);
  return said.join(", ");
}

function parameterRow(spec, parameter, inputs) {
  const schema = resolved(spec, parameter.schema);
  const input = element("input", { name: parameter.name, required: Boolean(parameter.required), ariaLabel: parameter.name });
  inputs.push([parameter, input]);
  const about = [parameter.description, shape(spec, schema), limits(schema)].filter(Boolean).join("; ");
  const name = element("code", {}, parameter.name + (parameter.required ? " *" : ""));
  return element("tr", {}, element("td", {}, name), element("td", {}, about), element("td", {}, input));
}

/** The address that the filled-in parameters make; a list is written with commas between its items. */
function address(path, inputs) {
  let filled = path;
  const query = new URLSearchParams();
  for (const [parameter, input] of inputs) {
    if (input.value === "") continue;
    if (parameter.in === "path") filled = filled.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    if (parameter.in !== "query") continue;
    const values = parameter.schema?.type === "array" ? input.value.split(",") : [input.value];
    for (const value of values) query.append(parameter.name, value.trim());
  }
  return query.size ? `${filled}?${query}` : filled;
}

async function csrf() {
  const answer = await fetch(new URL("session", BASE));
  return answer.ok ? ((await answer.json()).csrf ?? "") : "";
}

const LONGEST = 20_000; // characters of an answer that are shown

async function ask(method, path, inputs, body) {
  const headers = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (UNSAFE.has(method)) headers["X-CSRF-Token"] = await csrf();
  const where = address(path, inputs);
  const answer = await fetch(where, { method: method.toUpperCase(), headers, body });
  let text = await answer.text();
  try {
    text = JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    // Not JSON: as it came.
  }
  const cut = text.length > LONGEST ? `${text.slice(0, LONGEST)}\n…` : text;
  return `${method.toUpperCase()} ${where}\n${answer.status} ${answer.statusText}\n\n${cut}`;
}

function trial(method, path, inputs, example) {
  const body = example === undefined ? undefined : element("textarea", { value: example, ariaLabel: "body" });
  const shown = element("pre", { hidden: true, ariaLive: "polite" });
  const form = element("form", {}, ...(body ? [body] : []), element("button", {}, "Send"), shown);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    shown.hidden = false;
    shown.textContent = "…";
    shown.textContent = await ask(method, path, inputs, body?.value).catch(String);
  });
  return form;
}

function operation(spec, method, path, about) {
  const inputs = [];
  const [head, ...rest] = (about.description ?? about.summary ?? "").split("\n\n");
  const title = [element("b", {}, method.toUpperCase()), element("code", {}, path), element("span", {}, head)];
  const made = element("details", {}, element("summary", {}, ...title));
  made.dataset.text = `${method} ${path} ${about.description ?? ""}`.toLowerCase();
  made.append(...rest.map((text) => element("p", {}, text)));
  if (about["x-role"]) made.append(element("p", {}, `For the role ${about["x-role"]}, or one above it.`));
  if (about.parameters?.length) {
    const rows = about.parameters.map((one) => parameterRow(spec, one, inputs));
    made.append(element("table", {}, element("tbody", {}, ...rows)));
  }
  const sent = about.requestBody?.content?.["application/json"]?.schema;
  if (sent) made.append(element("h3", {}, "Body"), element("pre", {}, shape(spec, sent)));
  const answered = Object.values(about.responses?.["200"]?.content ?? {})[0]?.schema;
  if (answered) made.append(element("h3", {}, "Answer"), element("pre", {}, shape(spec, answered)));
  made.append(trial(method, path, inputs, sent ? "{}" : undefined));
  return made;
}

function show(spec) {
  document.getElementById("about").textContent = `${spec.info.version}. Times are RFC 3339, in UTC.`;
  const groups = new Map();
  for (const [path, methods] of Object.entries(spec.paths)) {
    for (const [method, about] of Object.entries(methods)) {
      const tag = about.tags?.[0] ?? "other";
      groups.set(tag, [...(groups.get(tag) ?? []), operation(spec, method, path, about)]);
    }
  }
  const sections = [...groups].map(([tag, all]) => element("section", {}, element("h2", {}, tag), ...all));
  document.getElementById("operations").replaceChildren(...sections);
}

document.getElementById("find").addEventListener("input", (event) => {
  const words = event.target.value.toLowerCase().split(/\s+/);
  for (const one of document.querySelectorAll("details")) {
    one.hidden = !words.every((word) => one.dataset.text.includes(word));
  }
  for (const one of document.querySelectorAll("section")) one.hidden = !one.querySelector("details:not([hidden])");
});

const answer = await fetch(new URL("openapi.json", BASE));
if (answer.ok) show(await answer.json());
else document.getElementById("operations").textContent = `${answer.status} ${answer.statusText}`;
