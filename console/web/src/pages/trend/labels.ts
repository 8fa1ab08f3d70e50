// Where labels stand in a picture, and how much of each has room.

/** The same heights, in their order, as far apart as labels need, and none above `top` or below `bottom`. */
export function spread(heights: readonly number[], apart: number, top: number, bottom: number): number[] {
  const order = heights.map((_, index) => index).toSorted((a, b) => heights[a]! - heights[b]!);
  const placed = [...heights];
  let least = top;
  for (const index of order) {
    placed[index] = Math.max(placed[index]!, least);
    least = placed[index] + apart;
  }
  let most = bottom;
  for (const index of order.toReversed()) {
    placed[index] = Math.min(placed[index]!, most);
    most = placed[index] - apart;
  }
  return placed;
}

/** The end of the text, where it is wider than there is room: the names of tag and alarm. */
export function fitting(text: string, room: number, widthOf: (text: string) => number): string {
  let short = text;
  for (let cut = 1; widthOf(short) > room && cut < text.length; cut++) short = `…${text.slice(cut)}`;
  return short;
}
