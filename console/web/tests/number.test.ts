import assert from "node:assert/strict";
import { test } from "node:test";
import { meant, numberOf } from "../src/pages/writes/number.ts";

const READ = {
  en: { "1,500": 1500, "1.500": 1.5, "1,234,567.89": 1234567.89, "1500": 1500, "0.5": 0.5, ".5": 0.5, "5.": 5 },
  de: { "1.500": 1500, "1,500": 1.5, "1,5": 1.5, "1.234.567,89": 1234567.89, "1500": 1500, "0,5": 0.5, ",5": 0.5, "5,": 5 },
};
const REFUSED = {
  en: ["1,5", "0,500", "1,50,000", "1,5000", "1500,000", "1.500,5", "1.5.5", "1,500,", ",500", "1 500", "0x10", "1e999", "-", ".", "e5", "abc"],
  de: ["1.5", "0.500", "1.50.000", "1.5000", "1500.000", "1,500.5", "1,5,5", "1.500.", ".500", "1 500", "0x10", "1e999", "-", ",", "e5", "abc"],
};

for (const language of ["en", "de"] as const) {
  test(`numbers are read as the pages write them: ${language}`, () => {
    for (const [typed, number] of Object.entries(READ[language])) {
      assert.equal(numberOf(typed, language), number, typed);
      assert.equal(numberOf(`-${typed}`, language), -number, `-${typed}`);
      assert.equal(numberOf(`−${typed}`, language), -number, `−${typed}`);
      assert.equal(numberOf(`${typed}e3`, language), Number(`${number}e3`), `${typed}e3`);
      assert.equal(numberOf(`${typed}E-3`, language), Number(`${number}e-3`), `${typed}E-3`);
    }
  });

  test(`what the pages show is read as the same number: ${language}`, () => {
    const shown = new Intl.NumberFormat(language, { maximumSignificantDigits: 15 });
    const power = new Intl.NumberFormat(language, { notation: "scientific", maximumSignificantDigits: 15 });
    for (const number of [0, 0.001, 1.5, 999, 1000, 1500.25, -1234567.891, 123456789012345]) {
      assert.equal(numberOf(shown.format(number), language), number);
      assert.equal(numberOf(power.format(number), language), number);
    }
  });

  test(`what is no number, or could be two, is refused: ${language}`, () => {
    for (const typed of REFUSED[language]) assert.equal(numberOf(typed, language), undefined, typed);
  });
}

test("the hint has this language's separators", () => {
  assert.equal(meant("1,5", "en"), "1.5");
  assert.equal(meant("-1.500,5e3", "en"), "-1,500.5e3");
  assert.equal(meant("1.5", "de"), "1,5");
  assert.equal(meant("0.500", "de"), "0,500");
  assert.equal(meant("1,50,000", "en"), undefined);
  assert.equal(meant("abc", "de"), undefined);
});
