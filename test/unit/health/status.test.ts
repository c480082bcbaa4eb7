import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { describeReason, formatBytes, formatCount, formatRate, formatSeconds } from '../../../src/health/format.ts';
import { addStep, clientSeriesOf, seriesOf, startPast } from '../../../src/health/history.ts';
import { renderMetrics } from '../../../src/health/metrics.ts';
import { renderPage, renderParts } from '../../../src/health/page.ts';
import type { HealthReport } from '../../../src/health/report.ts';
import { projectStatus, type Seen, type Status } from '../../../src/health/status.ts';
import { renderTable } from '../../../src/health/table.ts';
import { describeHardening } from '../../../src/plan/hardening.ts';
import { context } from '../plan/scenarios.ts';

const evil = '"><script>alert(1)</script>&\n\x1b[31m\\';

const health: HealthReport = {
  healthy: true,
  ready: true,
  state: 'up',
  since: '2026-01-02T03:04:05.678Z',
  repairs: 1,
  firewall: 'nft',
  hardening: describeHardening(context()),
  attempts: 1,
  failures: 0,
  profile: evil,
  remote: '198.51.100.10:1194/udp',
  exitInterface: 'tun0',
  tunnelAddress: '10.8.0.2',
};
const down: HealthReport = {
  ...health,
  healthy: false,
  state: 'blocked',
  cause: { code: 'server-silent', text: 'it does not answer', hint: evil },
};

function statusOf(seen: Partial<Seen> = {}): Status {
  return projectStatus({
    atMs: Date.UTC(2026, 0, 2, 4),
    startedMs: Date.UTC(2026, 0, 2, 3),
    version: '0.1.0',
    health,
    gateway: '172.22.0.1/24',
    tunName: 'tun0',
    isPaused: false,
    forwards: [],
    traffic: { sentBytes: 1, sentPackets: 2, receivedBytes: 3, receivedPackets: 4 },
    clients: [
      {
        address: '172.22.0.128',
        sentBytes: 1,
        sentPackets: 2,
        receivedBytes: 3,
        receivedPackets: 4,
        openings: 5,
        refused: { 'refuse-tcp': 6 },
      },
    ],
    names: new Map([['172.22.0.128', evil]]),
    refused: [{ reason: 'refuse-tcp', packets: 6, bytes: 360 }],
    history: seriesOf(startPast(0)),
    clientHistory: clientSeriesOf(startPast(0)),
    events: [{ at: '2026-01-02T03:04:05.678Z', level: 'warn', message: 'blocked', details: [evil] }],
    doctor: {
      at: '2026-01-02T03:04:05.678Z',
      findings: [{ code: 'UB_X', severity: 'leak', what: evil, why: evil, remedy: evil }],
    },
    hasControl: true,
    ...seen,
  });
}

describe('the verdict', () => {
  it('says what is let past the tunnel, up or not', () => {
    const pastTunnel = ['clients to 192.168.1.0/24 tcp/8096'];
    for (const each of [health, down]) {
      const status = statusOf({ health: { ...each, pastTunnel } });
      assert.match(
        status.verdict.text,
        / Except by LAN_ALLOW, past the tunnel: clients to 192\.168\.1\.0\/24 tcp\/8096\.$/,
      );
      for (const shown of [renderTable(status, 'plain'), renderPage(status)])
        assert.match(shown, /past the tunnel: clients/);
      assert.equal('pastTunnel' in (status.tunnels[0] ?? {}), false);
    }
  });

  it('says what DNS_LOCAL asks past a tunnel, proven or not', () => {
    const dns = { resolver: 'unbound', state: 'unknown', pastTunnel: ['lan.example=192.168.1.1'] } as const;
    for (const healthy of [true, false]) {
      const { text } = statusOf({ health: { ...health, healthy, dns } }).verdict;
      assert.match(text, /, but for the names of DNS_LOCAL, .*\(lan\.example=192\.168\.1\.1\)\.$/);
    }
  });

  it('leaves to the whole router what is not of one tunnel', () => {
    const networks = { text: 'IP_ADDR: is gone', hint: 'attach it' };
    const [tunnel] = statusOf({ health: { ...health, networks } }).tunnels;
    assert.deepEqual(Object.keys(tunnel ?? {}).sort(), [
      'attempts',
      'failures',
      'healthy',
      'interface',
      'isCarrying',
      'profile',
      'remote',
      'since',
      'state',
      'tunnelAddress',
    ]);
  });

  it('is protected only while a probe has come back', () => {
    const kinds = [
      statusOf(),
      statusOf({ health: { ...health, healthy: false } }),
      statusOf({ health: down }),
      statusOf({ health: { ...down, state: 'dialing' } }),
      statusOf({ health: { ...down, state: 'stopping' } }),
      statusOf({ isPaused: true }),
    ].map(({ verdict }) => verdict.kind);
    assert.deepEqual(kinds, ['protected', 'unproven', 'blocked', 'blocked', 'stopping', 'paused']);
  });

  it('says why clients are blocked, and what to do', () => {
    assert.deepEqual(statusOf({ health: down }).verdict, {
      kind: 'blocked',
      text: 'No tunnel: it does not answer. Clients are refused, and nothing leaves.',
      hint: evil,
    });
  });
});

describe('what is shown', () => {
  const status = statusOf({ health: down });

  it('on the page is text, whatever it holds, also where the browser renders it', () => {
    for (const html of [renderPage(status), ...Object.values(renderParts(status, status))]) {
      assert.doesNotMatch(html, /<script>|style=|<[^>]* on\w+=/);
    }
    assert.match(renderPage(status), /&quot;&gt;&lt;script&gt;alert\(1\)/);
  });

  it('in metrics cannot leave its label', () => {
    const lines = renderMetrics(status).split('\n');
    for (const line of lines)
      assert.match(line, /^(|# (HELP|TYPE) .*|underbridge_\w+(\{(\w+="([^"\\]|\\["\\n])*",?)+\})? [-\d.e+]+)$/);
    assert.ok(lines.includes('underbridge_healthy 0') && lines.includes('underbridge_cause{code="server-silent"} 1'));
  });

  it('for Prometheus has names that do not resolve, and what settings let past the tunnel', () => {
    const dns = {
      resolver: 'unbound',
      state: 'failing',
      pastTunnel: ['lan.example=192.168.1.1'],
      cause: { code: 'resolver-silent', text: 'nothing comes back', hint: 'try another' },
    } as const;
    const pastTunnel = ['clients to 192.168.1.0/24 tcp/80', 'clients to 192.168.1.0/24 tcp/81'];
    const trafficPastTunnel = { sentBytes: 11, sentPackets: 12, receivedBytes: 13, receivedPackets: 14 };
    const seen = statusOf({ health: { ...health, dns, pastTunnel }, trafficPastTunnel });
    const measured = renderMetrics(seen).split('\n');
    const of = (name: string) => measured.filter((line) => line.startsWith(name));
    assert.deepEqual(of('underbridge_dns_'), [
      'underbridge_dns_state{state="ok"} 0',
      'underbridge_dns_state{state="failing"} 1',
      'underbridge_dns_state{state="unknown"} 0',
      'underbridge_dns_cause{code="resolver-silent"} 1',
    ]);
    assert.deepEqual(of('underbridge_past_tunnel_'), [
      'underbridge_past_tunnel_entries{kind="network"} 2',
      'underbridge_past_tunnel_entries{kind="domain"} 1',
      'underbridge_past_tunnel_sent_bytes_total 11',
      'underbridge_past_tunnel_received_bytes_total 13',
      'underbridge_past_tunnel_sent_packets_total 12',
      'underbridge_past_tunnel_received_packets_total 14',
    ]);
    assert.match(renderTable(seen, 'plain'), /^past the tunnel: received 13 B, sent 11 B$/m);
    assert.match(renderPage(seen), /Past the tunnel: 13 B received, 11 B sent\./);
    const closed = renderMetrics(status);
    assert.doesNotMatch(closed, /underbridge_dns|past_tunnel_sent/);
    assert.match(closed, /^underbridge_past_tunnel_entries\{kind="network"\} 0$/m);
  });

  it('on a terminal is no control sequence, and has colours only where they are wanted', () => {
    assert.doesNotMatch(renderTable(status, 'plain'), /\x1b/);
    const coloured = renderTable(status, 'coloured');
    assert.match(coloured, /^\x1b\[1m\x1b\[31mBLOCKED\x1b\[0m/);
    assert.doesNotMatch(coloured, /\x1b\[31m\\/);
  });

  it('of a page with 200 clients stays below 100 kB', () => {
    const [client] = status.clients;
    const clients = Array.from({ length: 200 }, (_, index) => ({ ...client, address: `172.22.0.${index}` }) as never);
    assert.ok(renderPage(statusOf({ clients })).length < 100_000);
  });
});

describe('the history', () => {
  const counts = (sent: number, received: number) => {
    const count = (bytes: number) => ({ packets: 1, bytes });
    return {
      sent: new Map([['172.22.0.128', count(sent)]]),
      received: new Map([['172.22.0.128', count(received)]]),
      opened: new Map(),
      total: { sent: count(sent), received: count(received) },
      past: { sent: count(99), received: count(99) },
    };
  };

  it('has the growth of each step, also where the counters began anew', () => {
    const past = [counts(10, 0), counts(30, 5), counts(7, 6)].reduce(
      (all, each) => addStep(all, each, 5_000),
      startPast(0),
    );
    const { sent, received } = seriesOf(past);
    assert.deepEqual(
      [sent, received],
      [
        [10, 20, 7],
        [0, 5, 1],
      ],
    );
  });

  it('ends after an hour, and has a step a minute of each client that moved anything', () => {
    let past = startPast(0);
    for (let step = 1; step <= 800; step += 1) past = addStep(past, counts(step * 10, step), step * 5_000);
    assert.equal(seriesOf(past).sent.length, 720);
    const { bytes, stepSeconds } = clientSeriesOf(past);
    assert.deepEqual([stepSeconds, bytes['172.22.0.128']?.length, bytes['172.22.0.128']?.at(-1)], [60, 60, 132]);
    for (let step = 1; step <= 732; step += 1) past = addStep(past, counts(8_000, 800), step * 5_000);
    assert.deepEqual(clientSeriesOf(past).bytes, {});
  });
});

describe('numbers', () => {
  it('are short, with their unit', () => {
    assert.deepEqual([0, 999, 1_000, 9_949, 12_345, 999_600, 5e12].map(formatBytes), [
      '0 B',
      '999 B',
      '1.0 kB',
      '9.9 kB',
      '12 kB',
      '1.0 MB',
      '5.0 TB',
    ]);
    assert.equal(formatRate(125_000), '1.0 Mbit/s');
    assert.equal(formatCount(1_234_567), '1\u202f234\u202f567');
    assert.deepEqual([5, 65, 3_720, 90_000].map(formatSeconds), ['5 s', '1 min', '1 h 2 min', '1 d 1 h']);
  });
});

it('has words for every rule that counts what it refuses', () => {
  const golden = new URL('../golden/', import.meta.url);
  const rules = readdirSync(golden)
    .filter((name) => name.endsWith('.nft'))
    .flatMap((name) => readFileSync(new URL(name, golden), 'utf8').split(/^(?=table )/m))
    .filter((table) => /^table inet underbridge \{/.test(table))
    .flatMap((table) => [...table.matchAll(/ counter (?:drop|reject).* comment "(?:refuse-)?([^"]+)"/g)])
    .map(([, rule = '']) => rule);
  assert.ok(rules.includes('excess-tcp'));
  assert.deepEqual(
    [...new Set(rules)].filter((rule) => describeReason(rule) === rule),
    [],
  );
});
