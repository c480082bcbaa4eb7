import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type FileRead, renderProfile } from '../../../src/openvpn/profile.ts';
import { faultsOf, parseText, understood, withLines } from './corpus.ts';
import { malice, maliciousText } from './malice.ts';

const trap = '/srv/trap';
/** What files.ts says of a path outside of the profile's folder. */
const files: Readonly<Record<string, FileRead>> = { [`${trap}/secret`]: { kind: 'outside' } };

const render = (text: string): string => {
  const profile = understood(parseText(text, files));
  return renderProfile({ profile, remote: profile.remotes[0], address: '203.0.113.10' });
};
const harmless = render(withLines());

for (const item of malice(trap)) {
  const shown = JSON.stringify(item.lines.join('\n').slice(0, 80));
  const { outcome } = item;
  if (outcome.kind === 'refused') {
    test(`refuses ${shown}, by line and reason`, () => {
      const faults = faultsOf(parseText(maliciousText(item), files));
      assert.ok(
        faults.some(
          (fault) => fault.startsWith(`test.ovpn:${outcome.line} | `) && fault.endsWith(`| ${outcome.problem}`),
        ),
        faults.join('\n'),
      );
    });
  } else {
    test(`shows OpenVPN nothing of ${shown}`, () => assert.equal(render(maliciousText(item)), harmless));
  }
}
