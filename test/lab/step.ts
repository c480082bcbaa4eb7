/** One line of progress, on stderr: stdout belongs to results. */
export function step(message: string): void {
  process.stderr.write(`lab: ${message}\n`);
}
