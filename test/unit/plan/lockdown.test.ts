import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { planBootRules, planBootRuleset, planIpv6BootRules } from '../../../src/plan/lockdown.ts';
import { translateRuleset } from '../../../src/ruleset/iptables.ts';
import { renderRestore } from '../../../src/ruleset/iptables-restore.ts';
import { renderRule as renderNftRule, renderTable } from '../../../src/ruleset/nft.ts';
import { renderRule } from '../../../src/system/iproute.ts';
import { openvpnUid } from '../../../src/system/openvpn.ts';

const read = (file: string) =>
  readFileSync(new URL(`../../../rootfs/usr/lib/underbridge/${file}`, import.meta.url), 'utf8');

describe('the lockdown that is loaded before Node starts', () => {
  it('is in lockdown.nft exactly as it is planned', () => {
    // Two commands: nft 1.0.6 makes an empty table of a `create table` with a body.
    const tables = planBootRuleset().tables.map(
      (table) => `create table ${table.family} ${table.name}\n${renderTable(table)}`,
    );
    assert.equal(read('lockdown.nft'), tables.join('\n'));
  });

  it('replaces tables that are there already by the same', () => {
    const own = planBootRuleset().tables.map(({ family, name }) => `table ${family} ${name}`);
    // Of a start with IPV6: tunnel.
    const heads = [...own, 'table ip6 underbridge_nat'];
    const deletions = heads.map((head) => `${head}\ndelete ${head}\n`);
    assert.equal(read('relock.nft'), `${deletions.join('')}include "lockdown.nft"\n`);
  });

  it('is in lockdown.iptables exactly as it is planned, for both families', () => {
    for (const family of ['ipv4', 'ipv6'] as const) {
      const wanted = translateRuleset(planBootRuleset(), family);
      assert.equal(read('lockdown.iptables'), renderRestore({ wanted, saved: new Map() }));
    }
  });

  it('shuts out the resolver of Docker besides, where other containers may be in the network namespace', () => {
    const [rule] = planBootRuleset('sidecar').tables[0]?.chains.find(({ name }) => name === 'output')?.rules ?? [];
    assert.ok(rule !== undefined);
    for (const file of ['lockdown', 'relock'])
      assert.equal(
        read(`${file}-sidecar.nft`),
        `include "${file}.nft"\ninsert rule inet underbridge output ${renderNftRule(rule)}\n`,
      );
    const wanted = translateRuleset(planBootRuleset('sidecar'), 'ipv4');
    assert.equal(read('lockdown-sidecar.iptables'), renderRestore({ wanted, saved: new Map() }));
    assert.deepEqual(translateRuleset(planBootRuleset('sidecar'), 'ipv6'), translateRuleset(planBootRuleset(), 'ipv6'));
  });

  it('is in lockdown.ip exactly as it is planned, with the device of the tunnel', () => {
    const rules = planBootRules().map((rule) => `rule add ${renderRule(rule)}\n`);
    assert.equal(read('lockdown.ip'), `${rules.join('')}tuntap add dev tun0 mode tun user 975\n`);
  });

  it('is in lockdown.ip6 exactly as it is planned', () => {
    const rules = planIpv6BootRules(openvpnUid).map((rule) => `rule add ${renderRule(rule)}\n`);
    assert.equal(read('lockdown.ip6'), rules.join(''));
  });
});
