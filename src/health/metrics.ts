import type { Status } from './status.ts';

type Labels = Readonly<Record<string, string>>;
/** Labels, or their text without the braces. */
type Sample = readonly [labels: Labels | string, value: number];

/**
 * The text format of Prometheus 0.0.4. Labels are bounded: clients by the size of the kernel's sets, reasons by the
 * rules, profiles and tunnels by the settings. Written here and not by prom-client, which costs 10 MiB and 50 ms (ADR 0011).
 */
export function renderMetrics(status: Status): string {
  const { health, tunnels, traffic, clients, connections } = status;
  // Once for each client, who stands in six families.
  const labelled = clients.map((client) => ({
    client,
    labels: renderLabels({ client: client.address, name: client.name ?? '' }),
  }));
  return [
    gauge('underbridge_info', 'Version, and what the rules are loaded by.', [
      [{ version: status.version, firewall: health.firewall }, 1],
    ]),
    gauge('underbridge_start_time_seconds', 'When the router started, Unix time.', [[{}, seconds(status.startedAt)]]),
    gauge('underbridge_healthy', '1 while the tunnel carries traffic.', [[{}, Number(health.healthy)]]),
    gauge('underbridge_ready', '1 while clients get answers, if only an error.', [[{}, Number(health.ready)]]),
    gauge('underbridge_paused', '1 while the router is paused by hand.', [
      [{}, Number(status.verdict.kind === 'paused')],
    ]),
    gauge(
      'underbridge_state',
      '1 for the state that the router is in.',
      states.map((state) => [{ state }, Number(state === health.state)]),
    ),
    gauge('underbridge_state_since_seconds', 'When the state last changed, Unix time.', [[{}, seconds(health.since)]]),
    gauge(
      'underbridge_cause',
      '1 for the cause of the last failure, until a tunnel is proven.',
      health.cause === undefined ? [] : [[{ code: health.cause.code }, 1]],
    ),
    gauge(
      'underbridge_dns_state',
      '1 for whether names resolve, where the router asks by itself.',
      health.dns === undefined ? [] : dnsStates.map((state) => [{ state }, Number(state === health.dns?.state)]),
    ),
    gauge(
      'underbridge_dns_cause',
      '1 for the cause why names do not resolve.',
      health.dns?.cause === undefined ? [] : [[{ code: health.dns.cause.code }, 1]],
    ),
    counter(
      'underbridge_attempts_total',
      'OpenVPN processes started, by tunnel.',
      tunnels.map((tunnel) => [{ tunnel: tunnel.interface }, tunnel.attempts ?? 0]),
    ),
    gauge(
      'underbridge_failures',
      'Failed attempts since the tunnel last worked.',
      tunnels.map((tunnel) => [{ tunnel: tunnel.interface }, tunnel.failures ?? 0]),
    ),
    gauge(
      'underbridge_tunnel_up',
      '1 while the tunnel is proven.',
      tunnels.map((tunnel) => [{ tunnel: tunnel.interface }, Number(tunnel.healthy)]),
    ),
    gauge(
      'underbridge_tunnel_carrying',
      '1 for the tunnel that clients leave by.',
      tunnels.map((tunnel) => [{ tunnel: tunnel.interface }, Number(tunnel.isCarrying && tunnel.healthy)]),
    ),
    gauge(
      'underbridge_profile_failures',
      'Failed attempts in a row, by profile.',
      (health.tunnels ?? [health]).flatMap(({ profiles = [] }) =>
        profiles.map(({ name, failures }): Sample => [{ profile: name }, failures]),
      ),
    ),
    counter(
      'underbridge_repairs_total',
      'How often rules, routes or addresses were put right that somebody else had changed.',
      [[{}, health.repairs]],
    ),
    counter('underbridge_sent_bytes_total', 'Bytes of clients into the tunnel.', [[{}, traffic.sentBytes]]),
    counter('underbridge_received_bytes_total', 'Bytes out of the tunnel for clients.', [[{}, traffic.receivedBytes]]),
    counter('underbridge_sent_packets_total', 'Packets of clients into the tunnel.', [[{}, traffic.sentPackets]]),
    counter('underbridge_received_packets_total', 'Packets out of the tunnel for clients.', [
      [{}, traffic.receivedPackets],
    ]),
    counter(
      'underbridge_refused_packets_total',
      'Refused packets, by rule.',
      status.refused.map(({ reason, packets }) => [{ reason }, packets]),
    ),
    ...(connections === undefined
      ? []
      : [
          gauge('underbridge_connections', 'Tracked connections.', [[{}, connections.open]]),
          gauge('underbridge_connections_limit', 'Connections that the kernel takes.', [[{}, connections.limit]]),
        ]),
    ...renderPastTunnel(status),
    gauge('underbridge_clients', 'Clients seen since the start.', [[{}, clients.length]]),
    counter(
      'underbridge_client_sent_bytes_total',
      'Bytes of a client into the tunnel.',
      labelled.map(({ client, labels }) => [labels, client.sentBytes]),
    ),
    counter(
      'underbridge_client_received_bytes_total',
      'Bytes out of the tunnel for a client.',
      labelled.map(({ client, labels }) => [labels, client.receivedBytes]),
    ),
    counter(
      'underbridge_client_sent_packets_total',
      'Packets of a client into the tunnel.',
      labelled.map(({ client, labels }) => [labels, client.sentPackets]),
    ),
    counter(
      'underbridge_client_received_packets_total',
      'Packets out of the tunnel for a client.',
      labelled.map(({ client, labels }) => [labels, client.receivedPackets]),
    ),
    counter(
      'underbridge_client_openings_total',
      'Opening packets of connections, to and from a client.',
      labelled.map(({ client, labels }) => [labels, client.openings]),
    ),
    counter(
      'underbridge_client_refused_packets_total',
      'Refused packets of a client, by rule.',
      labelled.flatMap(({ client, labels }) =>
        Object.entries(client.refused).map(([reason, packets]): Sample => [`${labels},reason="${reason}"`, packets]),
      ),
    ),
    gauge(
      'underbridge_assigned_port',
      'The port that the provider gave, 0 while there is none.',
      status.dynamicForward === undefined
        ? []
        : [[{ protocol: status.dynamicForward.protocol }, status.dynamicForward.port ?? 0]],
    ),
    ...(status.doctor === undefined
      ? []
      : [
          gauge(
            'underbridge_doctor_findings',
            'What doctor found when it last looked.',
            severities.map((severity) => [
              { severity },
              status.doctor?.findings.filter((finding) => finding.severity === severity).length ?? 0,
            ]),
          ),
        ]),
  ].join('');
}

/** What settings let out, and how much of it there was. */
function renderPastTunnel({ health, trafficPastTunnel: past }: Status): readonly string[] {
  const allowed = gauge('underbridge_past_tunnel_entries', 'What settings let past the tunnel, by entry.', [
    [{ kind: 'network' }, health.pastTunnel?.length ?? 0],
    [{ kind: 'domain' }, health.dns?.pastTunnel?.length ?? 0],
  ]);
  if (past === undefined) return [allowed];
  const to = 'to the local network, past the tunnel.';
  const from = 'from the local network, past the tunnel.';
  return [
    allowed,
    counter('underbridge_past_tunnel_sent_bytes_total', `Bytes of clients ${to}`, [[{}, past.sentBytes]]),
    counter('underbridge_past_tunnel_received_bytes_total', `Bytes for clients ${from}`, [[{}, past.receivedBytes]]),
    counter('underbridge_past_tunnel_sent_packets_total', `Packets of clients ${to}`, [[{}, past.sentPackets]]),
    counter('underbridge_past_tunnel_received_packets_total', `Packets for clients ${from}`, [
      [{}, past.receivedPackets],
    ]),
  ];
}

const dnsStates = ['ok', 'failing', 'unknown'] as const;
const states = ['blocked', 'resolving', 'dialing', 'up', 'stopping'] as const;
const severities = ['leak', 'break', 'warning'] as const;

function gauge(name: string, help: string, samples: readonly Sample[]): string {
  return renderFamily(name, 'gauge', help, samples);
}

function counter(name: string, help: string, samples: readonly Sample[]): string {
  return renderFamily(name, 'counter', help, samples);
}

function renderFamily(name: string, type: string, help: string, samples: readonly Sample[]): string {
  if (samples.length === 0) return '';
  const lines = samples.map(([labels, value]) => {
    const text = typeof labels === 'string' ? labels : renderLabels(labels);
    return text === '' ? `${name} ${value}\n` : `${name}{${text}} ${value}\n`;
  });
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`;
}

function renderLabels(labels: Labels): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}="${escapeLabel(value)}"`)
    .join(',');
}

function escapeLabel(text: string): string {
  return /[\\"\n]/.test(text) ? text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n') : text;
}

function seconds(time: string): number {
  return Date.parse(time) / 1000;
}
