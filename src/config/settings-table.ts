import { type SettingDocs, settingsFor } from './settings.ts';

/** Renders the settings as the Markdown table of the README, with a newline at its end. */
export function renderSettingsTable(): string {
  const rows = Object.entries<SettingDocs>(settingsFor(undefined)).map(([name, docs]) => renderRow(name, docs));
  return ['| Setting | Default | Meaning |', '| --- | --- | --- |', ...rows, ''].join('\n');
}

function renderRow(name: string, { desc, example, unset }: SettingDocs): string {
  const whenUnset = unset.kind === 'value' ? `\`${unset.text}\`` : unset.markdown;
  const cells = [`\`${name}\``, whenUnset, `${desc} Example: \`${example}\`.`];
  return `| ${cells.map(escapeCell).join(' | ')} |`;
}

/** A bar ends a cell even inside a code span (GitHub Flavored Markdown, tables extension). */
function escapeCell(markdown: string): string {
  return markdown.replaceAll('|', '\\|');
}
