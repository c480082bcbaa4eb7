/** One word for a shell: older engines take any name for a network, and the user pastes this. */
export function quoteWord(text: string): string {
  return /^[\w.:/=@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
