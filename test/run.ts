// `npm test`: every test file in one run, several at a time, with one summary at its end. A file keeps to namespaces,
// engines and folders of its own, so that none meets another; most of its time it waits.
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';

/** More would be kept from the processor often enough to miss the times that tests hold the router to. */
const concurrency = 3;

/** The longest ones. Those that look at the clock come while only one of the image runs, which takes most of a processor. */
const first = [
  'image/outages',
  'kernel/failover',
  'kernel/leaks',
  'kernel/leaks-ipv6',
  'kernel/sidecar',
  'kernel/causes',
  'kernel/standby',
  'kernel/connection',
  'image/prove',
  'image/doctor',
  'kernel/drift',
  'kernel/iptables-router',
  'kernel/host-rules',
  'image/host',
  'image/router',
  'kernel/malicious-server',
  'image/compose',
  'image/refusals',
] as const;

const root = import.meta.dirname;
const found = ['kernel/*', 'image/*', 'unit/**/*'].flatMap((tier) => globSync(`${tier}.test.ts`, { cwd: root }).sort());
const names = new Set([...first.map((name) => `${name}.test.ts`), ...found]);
const files = [...names].map((name) => join(root, name));

// A bash of Node's that thinks itself the first shell reads ~/.bashrc each time.
process.env.SHLVL = '1';
const stream = run({ files, concurrency });
stream.on('test:fail', () => {
  process.exitCode = 1;
});
stream.compose(spec).pipe(process.stdout);
