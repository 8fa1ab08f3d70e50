// Numbers as the pages write them: a thousand and a half is 1,000.5 in English and 1.000,5 in German.
import type { Language } from "../../text";

const SEPARATORS: Record<Language, { group: string; point: string }> = {
  en: { group: ",", point: "." },
  de: { group: ".", point: "," },
};

/** Undefined for what is no number, or could be two: 1,5 in English. Groups have three digits, and begin with no zero. */
export function numberOf(typed: string, language: Language): number | undefined {
  const { group, point } = SEPARATORS[language];
  const whole = String.raw`[1-9]\d{0,2}(?:[${group}]\d{3})+|\d+`;
  const written = String.raw`[-+−]?(?:(?:${whole})(?:[${point}]\d*)?|[${point}]\d+)(?:[eE][-+−]?\d+)?`;
  if (!new RegExp(`^(?:${written})$`).test(typed)) return undefined;
  const number = Number(typed.replaceAll(group, "").replace(point, ".").replaceAll("−", "-"));
  return Number.isFinite(number) ? number : undefined;
}

/** The same with the separators of this language, where that makes it a number. */
export function meant(typed: string, language: Language): string | undefined {
  const swapped = typed.replace(/[.,]/g, (one) => (one === "." ? "," : "."));
  return numberOf(swapped, language) === undefined ? undefined : swapped;
}
