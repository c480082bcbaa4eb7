import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { $ } from 'zx';

/** What a program did: its exit code and what it wrote. */
export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Where everything that the demo runs is written down, with its output. */
export const transcriptPath = join(import.meta.dirname, '../../.cache/demo.log');

/** Begins a transcript, or goes on with the one of the run before. */
export function openTranscript(mode: 'new' | 'go on'): void {
  mkdirSync(dirname(transcriptPath), { recursive: true });
  if (mode === 'new') writeFileSync(transcriptPath, '');
}

/** Adds a line of our own to the transcript. */
export function note(text: string): void {
  appendFileSync(transcriptPath, `${new Date().toISOString()} ${text}\n`);
}

/** Runs a program and writes it into the transcript. A bad exit code is the caller's to judge. */
export async function run(argv: readonly string[], { env }: { readonly env: NodeJS.ProcessEnv }): Promise<Ran> {
  note(`$ ${argv.join(' ')}`);
  const { exitCode, stdout, stderr } = await $({
    quiet: true,
    nothrow: true,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })`${argv}`;
  note(`exit ${exitCode}\n${stdout}${stderr}`);
  return { code: exitCode ?? -1, stdout: stdout.trimEnd(), stderr: stderr.trimEnd() };
}
