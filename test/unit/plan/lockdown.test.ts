import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { planBootRules, planBootRuleset } from '../../../src/plan/lockdown.ts';
import { renderNft } from '../../../src/ruleset/nft.ts';
import { renderRule } from '../../../src/system/iproute.ts';

const read = (file: string) =>
  readFileSync(new URL(`../../../rootfs/usr/lib/underbridge/${file}`, import.meta.url), 'utf8');

describe('the lockdown that is loaded before Node starts', () => {
  it('is in lockdown.nft exactly as it is planned', () => {
    assert.equal(read('lockdown.nft'), renderNft(planBootRuleset()));
  });

  it('is in lockdown.ip exactly as it is planned', () => {
    const rules = planBootRules().map((rule) => `rule add ${renderRule(rule)}\n`);
    assert.equal(read('lockdown.ip'), rules.join(''));
  });

  it('sends IPv6 the same way, but for the router itself, which has none', () => {
    const refusals = planBootRules()
      .filter(({ to }) => to.kind === 'unreachable')
      .map((rule) => `rule add ${renderRule(rule).replace('from all ', '')}\n`);
    assert.equal(read('lockdown.ip6'), refusals.join(''));
  });
});
