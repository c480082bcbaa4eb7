import { isMap, LineCounter, parseDocument } from 'yaml';
import type * as z from 'zod/mini';
import { type Fault, faulty, ok, type Parsed } from '../errors.ts';

/** A file as it was written, with the way back from a value to its line. */
export interface PlacedDocument {
  readonly given: Readonly<Record<string, unknown>>;
  /** The place of the innermost part of the path that is there: `host.yaml:12`. */
  readonly placeOf: (path: readonly PropertyKey[]) => string;
}

/**
 * Reads YAML, or JSON, which is YAML too.
 * @param file its name, for messages
 */
export function parsePlaced(
  text: string,
  { file, form }: { file: string; form: 'YAML' | 'JSON' },
): Parsed<PlacedDocument> {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const at = (offset: number) => `${file}:${lines.linePos(offset).line}`;
  if (document.errors.length > 0) {
    const hint = form === 'YAML' ? 'see the lines around it; a tab is no indentation' : 'see the lines around it';
    return faulty(
      ...document.errors.map(({ pos, message }) => ({ name: at(pos[0]), problem: `is no ${form}: ${message}`, hint })),
    );
  }
  if (!isMap(document.contents)) {
    return faulty({ name: file, problem: 'has no settings in it', hint: 'write `{}` if there are to be none' });
  }
  const placeOf = (path: readonly PropertyKey[]): string => {
    for (let depth = path.length; depth > 0; depth -= 1) {
      const node = document.getIn(path.slice(0, depth), true) as { readonly range?: readonly number[] } | undefined;
      if (node?.range?.[0] !== undefined) return at(node.range[0]);
    }
    return at(0);
  };
  try {
    const given: Readonly<Record<string, unknown>> = document.toJS();
    // Throws for a part that holds itself (`&name [*name]`), which no message could show.
    JSON.stringify(given);
    return ok({ given, placeOf });
  } catch (error) {
    // An alias (`*name`) without its anchor, or thousands of them, is only seen here.
    if (!(error instanceof ReferenceError || error instanceof TypeError)) throw error;
    const hint = 'put quotation marks around a text that begins with an asterisk';
    const [problem] = error.message.split('\n');
    return faulty({ name: file, problem: `is no ${form}: ${problem}`, hint });
  }
}

/** What a schema has against a document, each with its place. */
export function toFaults(issue: z.core.$ZodIssue, { given, placeOf }: PlacedDocument): readonly Fault[] {
  const setting = issue.path.map(String).join('.');
  const hint = 'see docs/host.md for what it takes';
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      name: placeOf([...issue.path, key]),
      value: key,
      problem: setting === '' ? 'is no setting' : `is no setting of ${setting}`,
      hint: 'see docs/host.md for all of them',
    }));
  }
  if (issue.code === 'invalid_union') {
    // The alternative that got furthest says best what is wrong.
    const within = issue.errors.flat().filter(({ path }) => path.length > 0);
    const [deepest] =
      within.length > 0 ? within : issue.errors.flat().filter(({ code }) => code === 'unrecognized_keys');
    if (deepest !== undefined) {
      return toFaults({ ...deepest, path: [...issue.path, ...deepest.path] }, { given, placeOf });
    }
  }
  const value = valueAt(given, issue.path);
  if (value === undefined) return [{ name: placeOf(issue.path), problem: `${setting} is missing`, hint }];
  const shown = typeof value === 'string' ? value : JSON.stringify(value);
  return [{ name: `${placeOf(issue.path)} ${setting}`, value: shown, problem: explain(issue), hint }];
}

function explain(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_value') return `is none of ${issue.values.map(String).join(', ')}`;
  if (issue.code === 'invalid_union') return 'is of no kind that is taken here';
  return issue.code === 'invalid_type' ? `is no ${issue.expected}` : issue.message;
}

function valueAt(given: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown> | undefined)?.[key], given);
}

type Defined<T> = { [K in keyof T]: Exclude<T[K], undefined> };

/** Without the keys that were left out. */
export function defined<T extends object>(entry: T): Defined<T> {
  return Object.fromEntries(Object.entries(entry).filter(([, value]) => value !== undefined)) as Defined<T>;
}
