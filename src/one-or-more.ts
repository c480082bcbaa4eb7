/** A list that is not empty. */
export type OneOrMore<T> = readonly [T, ...T[]];

/** Narrows a list for what needs a value. */
export function isNonEmpty<T>(values: readonly T[]): values is OneOrMore<T> {
  return values.length > 0;
}
