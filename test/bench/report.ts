/** One line of the table. */
export interface Row {
  readonly what: string;
  readonly router: string;
  /** The plain OpenVPN client in the same run; empty where there is nothing to compare. */
  readonly plain?: string;
  readonly target?: Target;
}

export interface Target {
  readonly text: string;
  readonly isMet: boolean;
}

const heads = ['', 'Underbridge', 'plain OpenVPN', 'target', 'verdict'] as const;

/** The table for a terminal, in columns. */
export function renderTable(rows: readonly Row[]): string {
  const lines = [heads, ...rows.map(cellsOf)];
  const widths = heads.map((_, column) => Math.max(...lines.map((cells) => cells[column]?.length ?? 0)));
  const rule = widths.map((width) => '─'.repeat(width));
  return [lines[0] ?? [], rule, ...lines.slice(1)]
    .map((cells) =>
      cells
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** The same table as Markdown, for the README. */
export function renderMarkdown(rows: readonly Row[]): string {
  const lines = [heads, heads.map(() => '---'), ...rows.map(cellsOf)];
  return lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

/** One sentence about all targets. */
export function renderVerdict(rows: readonly Row[]): string {
  const withTarget = rows.filter(({ target }) => target !== undefined);
  const missed = withTarget.filter(({ target }) => target?.isMet === false);
  if (missed.length === 0) return `All ${withTarget.length} targets are met.`;
  return `${missed.length} of ${withTarget.length} targets MISSED: ${missed.map(({ what }) => what).join('; ')}.`;
}

function cellsOf({ what, router, plain = '', target }: Row): readonly string[] {
  const verdict = target === undefined ? '' : target.isMet ? 'met' : 'MISSED';
  return [what, router, plain, target?.text ?? '', verdict];
}
