// Files and the clipboard.

export type Cell = string | number | boolean | null | undefined;

/** Hands a file to the browser. */
export function save(name: string, content: Blob): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** A spreadsheet takes text that begins so for a formula: an apostrophe keeps it text. */
const FORMULA = /^[=+\-@\t\r]/;

function csvCell(cell: Cell): string {
  if (typeof cell !== "string") return cell === null || cell === undefined ? "" : String(cell);
  const safe = FORMULA.test(cell) && !/^[+-]?\d+(\.\d+)?$/.test(cell) ? `'${cell}` : cell;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

export function csv(rows: readonly (readonly Cell[])[]): Blob {
  const lines = rows.map((row) => row.map(csvCell).join(","));
  return new Blob([`${lines.join("\r\n")}\r\n`], { type: "text/csv;charset=utf-8" });
}

/** Text with tabs, as spreadsheets take it from the clipboard. False where the browser forbids it. */
export async function copy(rows: readonly (readonly Cell[])[]): Promise<boolean> {
  const content = rows.map((row) => row.map((cell) => cell ?? "").join("\t")).join("\n");
  try {
    await navigator.clipboard.writeText(content);
    return true;
  } catch {
    return copySelected(content);
  }
}

/** Over plain HTTP from another machine browsers have no clipboard, but they copy what is selected. */
function copySelected(content: string): boolean {
  const area = document.createElement("textarea");
  area.value = content;
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}
