// The words of the pages, in the language of the browser or the one chosen.
import { load, save } from "../settings";
import { de } from "./de";
import { en, type Text } from "./en";

export type Language = "en" | "de";
const TABLES: Record<Language, Text> = { en, de };

const wished = load<Language | null>("language", null) ?? navigator.language.slice(0, 2);
export const language: Language = wished in TABLES ? (wished as Language) : "en";
export const text: Text = TABLES[language];

export function setLanguage(next: Language): void {
  save("language", next);
  location.reload();
}
