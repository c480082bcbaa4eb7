import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { findLookedAt } from '../../../src/host/clients.ts';
import type { HostConfig } from '../../../src/host/host-config.ts';
import { container, details, network, plan, router, rulesOf, underbridge } from './machine.ts';

describe('an isolated network', () => {
  const isolated = [{ place: 'host.yaml:1', network: 'underbridge' }];

  it('is shut in two tables, of both families, and asks for no accept', () => {
    const made = plan({
      config: { isolated },
      docker: { containers: [router] },
      kernel: { saved: { ipv4: new Map(), ipv6: new Map() } },
    });
    const comment = '-m comment --comment "isolated underbridge"';
    for (const family of ['ipv4', 'ipv6'] as const) {
      for (const table of ['filter', 'mangle']) {
        assert.deepEqual(rulesOf(made, [table, 'FORWARD'], family), [
          `-i underbr ! -o underbr ${comment} -j DROP`,
          `! -i underbr -o underbr ${comment} -j DROP`,
        ]);
        assert.deepEqual(rulesOf(made, [table, 'INPUT'], family), [`-i underbr ${comment} -j DROP`]);
      }
    }
    assert.deepEqual(made.findings, []);
  });

  it('gets accepts for bridged packets when it is internal', () => {
    const networks = [{ ...underbridge, isInternal: true }];
    const made = plan({ config: { isolated }, docker: { networks, containers: [router] } });
    assert.deepEqual(rulesOf(made, ['filter', 'FORWARD']).slice(0, 2), [
      '-s 172.22.0.0/24 ! -d 172.22.0.0/24 -i underbr -o underbr -m comment --comment "isolated underbridge" -j ACCEPT',
      '! -s 172.22.0.0/24 -d 172.22.0.0/24 -i underbr -o underbr -m comment --comment "isolated underbridge" -j ACCEPT',
    ]);
    assert.equal(rulesOf(made, ['mangle', 'FORWARD']).length, 2);
  });

  it('keeps its drops while its router is down, and says so', () => {
    const made = plan({ config: { isolated } });
    assert.equal(rulesOf(made, ['mangle', 'FORWARD']).length, 2);
    assert.deepEqual(
      made.findings.map(({ code }) => code),
      ['router-absent'],
    );
  });

  it('says of whom Docker does not tell, who may be the router, and keeps its drops', () => {
    const { details: _, ...unknown } = router;
    const containers = [{ ...unknown, isSilent: true }];
    const made = plan({ config: { isolated }, docker: { networks: [underbridge], containers } });
    assert.equal(rulesOf(made, ['mangle', 'FORWARD']).length, 2);
    assert.deepEqual(
      made.findings.map(({ code, subject }) => `${code} ${subject}`),
      ['container-not-inspected router'],
    );
  });

  it('is listed once, and is a bridge: another entry for it, or an interface by mistake, is told of', () => {
    const isolated = [
      { place: 'host.yaml:1', network: 'underbridge', router: '172.22.0.1' },
      { place: 'host.yaml:2', network: underbridge.id, router: '172.22.0.9' },
      { place: 'host.yaml:3', network: 'yet to come', bridge: 'eth0' },
      { place: 'host.yaml:4', network: 'yet to come', bridge: 'comebr' },
    ];
    const links = [
      { name: 'eth0', addresses: ['192.0.2.5/24'], isBridge: false },
      { name: 'underbr', addresses: [], isBridge: true },
    ];
    const made = plan({ config: { isolated }, docker: { networks: [underbridge] }, kernel: { links } });
    assert.deepEqual(
      made.resources.map((one) => one.kind === 'routed-bridge' && `${one.bridge} ${one.router?.text}`),
      ['underbr 172.22.0.1', 'comebr undefined'],
    );
    assert.deepEqual(
      made.faults.map(({ name, problem }) => `${name} ${problem.split(' ').slice(0, 4).join(' ')}`),
      ['host.yaml:2 its bridge underbr is', 'host.yaml:3 eth0 is an interface'],
    );
  });

  it('is found by its label, once', () => {
    const networks = [{ ...underbridge, labels: { 'underbridge.isolated': 'true' } }];
    const made = plan({ config: { isolated }, docker: { networks } });
    assert.equal(made.resources.length, 1);
    assert.equal(plan({ docker: { networks } }).resources.length, 1);
    assert.equal(
      plan({ docker: { networks: [{ ...underbridge, labels: { 'underbridge.isolated': 'no' } }] } }).resources.length,
      0,
    );
  });

  it('is each of several networks of one name, as Docker up to 24 has them', () => {
    const twin = { ...underbridge, id: 'twin', bridge: 'twinbr', ranges: [{ subnet: '172.23.0.0/24', auxiliary: {} }] };
    const made = plan({ config: { isolated }, docker: { networks: [underbridge, twin] } });
    const rules = rulesOf(made, ['mangle', 'FORWARD']);
    for (const bridge of ['underbr', 'twinbr']) {
      assert.equal(rules.filter((rule) => rule.startsWith(`-i ${bridge} `)).length, 1, bridge);
    }
  });

  it('stands before the network is there, where its bridge is named', () => {
    const made = plan({ config: { isolated: [{ place: 'host.yaml:1', network: 'later', bridge: 'laterbr' }] } });
    assert.equal(rulesOf(made, ['mangle', 'FORWARD']).length, 2);
    assert.deepEqual(made.faults, []);
    const nameless = plan({ config: { isolated: [{ place: 'host.yaml:1', network: 'later' }] } });
    assert.match(nameless.faults[0]?.problem ?? '', /there is no network of that name/);
  });

  it('is refused what is no address of it, and what is no bridge', () => {
    const made = plan({
      config: {
        isolated: [
          { place: 'host.yaml:1', network: 'underbridge', router: '10.1.1.1' },
          { place: 'host.yaml:2', network: 'overlay' },
        ],
      },
      docker: { networks: [underbridge, network('overlay', '10.5.0.0/24', { driver: 'overlay', bridge: '' })] },
    });
    assert.deepEqual(
      made.faults.map(({ name }) => name),
      ['host.yaml:1', 'host.yaml:2'],
    );
    // Still shut: a wrong address of the router is no reason to open it.
    assert.equal(rulesOf(made, ['mangle', 'FORWARD']).length, 2);
  });

  const client = (more = {}, addresses: Record<string, string> = { underbridge: '172.22.0.9' }) =>
    container('client', addresses, { details: details({ pid: 77, ...more }) });
  const withClient = (one: ReturnType<typeof container>, more: Parameters<typeof plan>[0] = {}) =>
    plan({
      ...more,
      config: { isolated, ...more.config },
      docker: { containers: [router, one], ...more.docker },
    });

  it('has clients reported that Docker may resolve for, or that have a second way out', () => {
    const codes = (made: ReturnType<typeof plan>) => made.findings.map(({ code, subject }) => `${code} ${subject}`);
    assert.deepEqual(codes(withClient(client())), []);
    assert.deepEqual(codes(withClient(client({ dns: [] }))), ['client-without-dns client']);
    assert.deepEqual(codes(withClient(client({}, { underbridge: '172.22.0.9', apps: '10.90.0.2' }))), [
      'client-with-second-way client',
    ]);
    const inner = network('inner', '10.80.0.0/24', { isInternal: true });
    const both = client({}, { underbridge: '172.22.0.9', inner: '10.80.0.2' });
    assert.deepEqual(codes(withClient(both, { docker: { networks: [underbridge, inner] } })), [] as string[]);
  });

  it('has clients reported whose other network cannot be shut, though it was asked for', () => {
    const wide = network('wide', '10.5.0.0/24', {
      driver: 'macvlan',
      bridge: '',
      labels: { 'underbridge.isolated': 'true' },
    });
    const both = client({}, { underbridge: '172.22.0.9', wide: '10.5.0.2' });
    const made = withClient(both, { docker: { networks: [underbridge, wide], containers: [router, both] } });
    assert.deepEqual(
      made.findings.map(({ code }) => code).filter((code) => code === 'client-with-second-way'),
      ['client-with-second-way'],
    );
  });

  it('is looked at for what cuts off its clients also when they have become safe', () => {
    const look = (clients: HostConfig['clients']) =>
      findLookedAt(
        withClient(client(), { config: { clients } }).resources.filter((one) => one.kind === 'routed-bridge'),
      );
    assert.deepEqual(look('cut-off'), [{ pid: 77, containerId: client().id, mayBeCutOff: true }]);
    assert.deepEqual(look('report'), [{ pid: 77, containerId: client().id, mayBeCutOff: false }]);
  });

  it('has them cut off by setting, once, and let go when they may', () => {
    const steps = (dns: readonly string[], clients: HostConfig['clients'], isCutOff: boolean) =>
      withClient(client({ dns }), {
        config: { clients },
        kernel: { namespaces: new Map([[77, { defaultRoutes: ['172.22.0.1'], isCutOff }]]) },
      }).namespaces.map(({ kind }) => kind);
    assert.deepEqual(steps([], 'cut-off', false), ['cut-off']);
    assert.deepEqual(steps([], 'cut-off', true), []);
    assert.deepEqual(steps([], 'report', true), ['let-go']);
    assert.deepEqual(steps(['172.22.0.1'], 'cut-off', true), ['let-go']);
  });

  it('gives clients a default route where it is internal and Docker gave none', () => {
    const steps = (isInternal: boolean, defaultRoutes: readonly string[]) =>
      withClient(client(), {
        docker: { networks: [{ ...underbridge, isInternal }] },
        kernel: { namespaces: new Map([[77, { defaultRoutes, isCutOff: false }]]) },
      }).namespaces;
    const [router, subject] = [
      { family: 'ipv4', text: '172.22.0.1' },
      { container: 'client', containerId: client().id },
    ];
    assert.deepEqual(steps(true, []), [{ kind: 'add-default-route', pid: 77, ...subject, router }]);
    assert.deepEqual(steps(true, ['172.22.0.1']), []);
    assert.deepEqual(steps(false, []), []);
  });
});
