import assert from "node:assert/strict";
import { test } from "node:test";
import { fitting, spread } from "../src/pages/trend/labels.ts";

const APART = 14;
const TOP = 10;
const BOTTOM = 200;
const placed = (...heights: number[]) => spread(heights, APART, TOP, BOTTOM);

test("labels with room stay where they are", () => {
  assert.deepEqual(placed(50, 100, 150), [50, 100, 150]);
  assert.deepEqual(placed(), []);
});

test("labels of the same height are put below each other, in their order", () => {
  assert.deepEqual(placed(50, 50, 50), [50, 64, 78]);
  assert.deepEqual(placed(55, 50), [64, 50]);
});

test("labels stay within the picture and apart", () => {
  assert.deepEqual(placed(0, 5), [TOP, TOP + APART]);
  assert.deepEqual(placed(199, 210), [BOTTOM - APART, BOTTOM]);
  assert.deepEqual(placed(150, 195, 198), [150, BOTTOM - APART, BOTTOM]);
});

test("a label pushes those above it only as far as they need", () => {
  assert.deepEqual(placed(170, 190, 195), [170, BOTTOM - APART, BOTTOM]);
  assert.deepEqual(placed(180, 190, 195), [BOTTOM - 2 * APART, BOTTOM - APART, BOTTOM]);
});

const widthOf = (text: string) => 10 * text.length;

test("a text with room is whole", () => {
  assert.equal(fitting("oven: high", 100, widthOf), "oven: high");
});

test("a text that is too wide loses its beginning", () => {
  assert.equal(fitting("oven: high", 99, widthOf), "…en: high");
  assert.equal(fitting("oven: high", 50, widthOf), "…high");
});

test("a text for which there is no room at all has an end", () => {
  assert.equal(fitting("oven: high", 0, widthOf), "…h");
  assert.equal(fitting("", 0, widthOf), "");
});
