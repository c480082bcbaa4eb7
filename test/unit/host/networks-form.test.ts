import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseNetworksFile } from '../../../src/host/networks-file.ts';
import { rulesOf } from './machine.ts';
import { faultsOf, planFile, planPolicies, read, small } from './networks-machine.ts';

describe('the form of networks.json', () => {
  it('may leave strings empty and write ports as strings, in any of its parts, or have none', () => {
    const made = planPolicies([
      { selector: 'edge', from: 'web-1', nat: '', iface: '', to: '', port: '8080', proto: 'TCP', name: '' },
    ]);
    assert.match(rulesOf(made, ['filter', 'ACCEPT'])[0] ?? '', /-p tcp -m tcp --dport 8080 /);
    assert.deepEqual(planFile({}).resources, []);
    assert.deepEqual(planFile({ networks: null, ips: {} }).faults, []);
  });

  it('is told all that is wrong with it in one message, and its good entries hold', () => {
    const made = planPolicies([
      { selector: 'edge', from: 'web-1', prot: 'udp' },
      { selector: 'edge', from: 'web-1', port: 70000, proto: 'icmp' },
      { selector: 'edge', port: 80 },
      { selector: 'edge', from: 'web-1', nat: 'dnat', iface: 'wg0', port: 80 },
      { selector: 'edge', nat: 'snat', port: 80 },
      { nat: 'dnat', to: 'web-1', port: 80 },
      { selector: 'edge', nat: 'dnat', port: 80 },
      { selector: 'edge', nat: 'dnat', to: 'web-1' },
      { from: 'web-1', port: 80 },
      { selector: 'edge', nat: 'dnat', iface: 'a b', port: 80 },
      ['nothing'],
      { selector: 'edge', from: 'web-1' },
    ]);
    assert.deepEqual(
      faultsOf(made).map((line) => line.replace(/^networks\.json:\d+ ?/, '').replace(/\. [A-Z].*/, '')),
      [
        '="prot": is no setting of policies.0',
        'policies.1.port="70000": is no port',
        'policies.1.proto="icmp": is none of tcp, udp, sctp',
        ': the policy has neither `from` nor `nat`',
        ': the policy has both `from` and `nat`',
        'policies.4.nat="snat": is none of dnat',
        ': the policy needs both `selector` and `to`',
        ': the policy needs both `selector` and `to`',
        ': the policy has no `port`',
        ': the policy names nobody who is to be reached',
        'policies.9.iface="a b": is no name of an interface',
        'policies.10="[\\"nothing\\"]": is no object',
      ],
    );
    assert.equal(rulesOf(made, ['filter', 'ACCEPT']).length, 4);
    const others = read({
      network: {},
      networks: {
        a: { subnet: '10.0.0.0', gateway: 'x', driver: 'bridge' },
        'a b': { subnet: '10.9.0.0/24', gateway: '10.9.0.1' },
      },
      ips: {
        x: { container_name: 'a' },
        '10.0.0.2': { ip: '10.0.0.3', selector: 'a' },
        '10.0.0.4': {},
        'fd00::1': { selector: 'a' },
      },
      policies: {},
    });
    assert.deepEqual(
      others.faults.map(({ value, problem }) => `${value}: ${problem}`),
      [
        'network: is no part of it',
        '10.0.0.0: is no IPv4 subnet',
        'x: is no IPv4 address',
        'driver: is no setting of networks.a',
        'a b: is no name that Docker takes for a network',
        'x: is no IPv4 address',
        '10.0.0.2: is the key of another address, 10.0.0.3',
        '10.0.0.4: is the address of nobody',
        'fd00::1: is no IPv4 address',
        'policies: is no list',
      ],
    );
  });

  it('is refused as a whole where it is no JSON', () => {
    for (const text of ['', '{"networks": {', '[]', '{"ips": {"10.0.0.1": {}, "10.0.0.1": {}}}']) {
      assert.equal(parseNetworksFile(text, 'networks.json').kind, 'faults', text);
    }
  });

  it('is never more than is read, and never ends the role', () => {
    const anyName = fc.constantFrom('proxy', 'web-1', 'web', 'w', 'nobody', 'front', '10.50.0.10', '10.9.0.0/16', '');
    const anyPolicy = fc.record(
      {
        container_name: anyName,
        selector: anyName,
        from: anyName,
        to: anyName,
        nat: fc.constantFrom('dnat', ''),
        iface: fc.constantFrom('wg0', ''),
        port: fc.integer({ min: 1, max: 3 }),
        proto: fc.constantFrom('tcp', 'udp'),
      },
      { requiredKeys: [] },
    );
    const anyIps = fc.dictionary(
      fc.integer({ min: 0, max: 255 }).map((last) => `10.5${last % 3}.0.${last}`),
      fc.record({ container_name: anyName, selector: anyName }, { requiredKeys: [] }),
      { maxKeys: 6 },
    );
    fc.assert(
      fc.property(anyIps, fc.array(anyPolicy, { maxLength: 6 }), (ips, policies) => {
        const made = planFile({ ...small, ips, policies });
        const names = new Set(
          made.resources.map((one) => one.kind === 'attachment' && `${one.containerId} ${one.network}`),
        );
        const attached = made.resources.filter(({ kind }) => kind === 'attachment');
        // No container gets two addresses in one network, which would go to and fro.
        assert.equal([...names].filter(Boolean).length, attached.length);
        for (const one of made.resources) {
          if (one.kind === 'attachment') assert.ok(one.address.text in ips);
        }
        // Nothing is allowed that no policy has: each entry of `policies` is either there or told of, or means what another one does.
        const places = new Set([
          ...made.resources.map(({ origin }) => origin.place),
          ...made.faults.map(({ name }) => name.split(' ')[0]),
        ]);
        if (policies.length > 0) assert.ok([...places].length > 0);
        for (const { place } of read({ ...small, ips, policies }).policies) assert.ok(places.has(place), place);
      }),
    );
  });
});
