// Needs openvpn, which ends before it opens anything: it is given no device.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import fc from 'fast-check';
import { lexOptions } from '../../src/openvpn/option-lexer.ts';

/** Names that no OpenVPN knows: told to go on, it lists every one of them with its line. */
const names = fc.constantFrom(
  'xa',
  'xb',
  'xc',
  '--xa',
  '<xa>',
  '</xa>',
  '<xb>',
  '</xb>',
  '--<xa>',
  '"<xb>"',
  '--',
  '-',
);
const ends = fc.constantFrom('\n', '\n', '\n', ' ', '\t', '\r', '\r\n', '\v', '\f');
const signs = fc.constantFrom('\\', '"', "'", '#', ';', '<', '>', '</', '<>');
const strange = fc.constantFrom('\u00a0', '\u0085', '\u2028', '\ufeff', 'é', '\u0001', '\u007f');
const padding = fc.integer({ min: 245, max: 258 }).map((length) => '#'.repeat(length));
const text = fc
  .array(
    fc.oneof(
      { weight: 4, arbitrary: names },
      { weight: 4, arbitrary: ends },
      { weight: 2, arbitrary: signs },
      { weight: 1, arbitrary: strange },
      { weight: 1, arbitrary: padding },
    ),
    { minLength: 1, maxLength: 14 },
  )
  .map((parts) => `${parts.join('')}\n`);

test('finds the options that openvpn finds, in every text that both can read', () => {
  let alike = 0;
  for (const sample of fc.sample(text, { numRuns: 1_000, seed: 2 })) {
    const ours = lexOptions({ file: 'f', text: sample });
    // Whoever reads less is the safer one.
    if (ours.faults.length > 0) continue;
    const theirs = namesSeenByOpenvpn(sample);
    if (theirs === undefined) continue;
    assert.deepEqual(
      ours.lines.map(({ line, name }) => `${line} ${name}`),
      theirs,
      JSON.stringify(sample),
    );
    alike += theirs.length;
  }
  assert.ok(alike > 300, `${alike} options`);
});

/** Line and name of each option; undefined when openvpn cannot read the text. */
function namesSeenByOpenvpn(input: string): readonly string[] | undefined {
  const args = ['--setenv', 'FORWARD_COMPATIBLE', '1', '--config', 'stdin'];
  const { stdout } = spawnSync('openvpn', args, { input, encoding: 'utf8', env: { PATH: process.env.PATH } });
  if (/Bad backslash|No closing|Residual parse state|is too long|Maximum option line|Endtag/.test(stdout))
    return undefined;
  const seen = /Unrecognized option or missing or extra parameter\(s\) in stdin:(\d+): (.*?) \(\d+\.\d+[^)]*\)$/gms;
  return [...stdout.matchAll(seen)].map(([, line, name]) => `${line} ${name}`);
}
