/** What repeated measurements of one thing came to. */
export interface Spread {
  readonly median: number;
  readonly least: number;
  readonly most: number;
  readonly count: number;
}

/** @throws TypeError without a value. */
export function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((one, other) => one - other);
  const [least, most] = [sorted[0], sorted.at(-1)];
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  if (least === undefined || most === undefined || low === undefined || high === undefined) {
    throw new TypeError('no value was measured');
  }
  return { median: (low + high) / 2, least, most, count: sorted.length };
}

/** `388 ms (361–402)`: the median with the best and the worst; tenths only where they tell something. */
export function renderSpread({ median, least, most }: Spread, unit: string): string {
  return `${renderNumber(median)} ${unit} (${renderNumber(least)}–${renderNumber(most)})`;
}

/** `14.2`, `388`, `1,204`. */
export function renderNumber(value: number): string {
  const digits = value < 10 ? 2 : value < 100 ? 1 : 0;
  return value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}
