/** What was typed into a form's field of this name, which holds no file. */
export function entered(form: FormData, name: string): string {
  const typed = form.get(name);
  return typeof typed === "string" ? typed : "";
}
