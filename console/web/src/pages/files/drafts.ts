// What was typed into device files and is not applied: it outlives a look at another file or page.

/** `digest` is of the content that was changed, so that nobody's later change is undone unseen. */
export interface Draft {
  text: string;
  digest: string;
}

const drafts = new Map<string, Draft>();

export const draft = (file: string) => drafts.get(file);

/** Names of the files of a gateway that have one; `prefix` is what their keys begin with. */
export const draftsOf = (prefix: string) =>
  [...drafts.keys()].filter((file) => file.startsWith(prefix)).map((file) => file.slice(prefix.length));

export function keep(file: string, next: Draft | undefined): void {
  if (next) drafts.set(file, next);
  else drafts.delete(file);
}

addEventListener("beforeunload", (event) => {
  if (drafts.size) event.preventDefault();
});
