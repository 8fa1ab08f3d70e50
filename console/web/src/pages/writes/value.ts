// What somebody typed, as a value of the tag.
import type { Tag, Value } from "../../api/types";
import { value } from "../../format";
import { language, text } from "../../text";
import { meant, numberOf } from "./number";

interface Parsed {
  wanted: Exclude<Value, null> | undefined;
  fault: string | null;
}

const NONE: Parsed = { wanted: undefined, fault: null };

/** `present` tells the type where no gateway has described the tag. */
export function parse(typed: string, tag: Tag | undefined, present: Value | undefined): Parsed {
  const said = typed.trim();
  if (!said) return NONE;
  if (/^bool/i.test(tag?.type ?? "") || typeof present === "boolean") return { wanted: said === "true", fault: null };
  if (/^(string|text)/i.test(tag?.type ?? "") || (!tag?.type && typeof present === "string")) {
    return { wanted: typed, fault: null };
  }
  const number = numberOf(said, language);
  if (number === undefined) {
    const like = meant(said, language);
    return { wanted: undefined, fault: like === undefined ? text.writes.noNumber : text.writes.unclear(like) };
  }
  const low = tag?.min ?? -Infinity;
  const high = tag?.max ?? Infinity;
  if (number < low || number > high) return { wanted: undefined, fault: text.writes.outside(value(low), value(high)) };
  return { wanted: number, fault: null };
}
