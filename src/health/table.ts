import { escapeInvisible } from '../config/report.ts';
import { describeReason, formatBytes, formatCount, formatSince, formatTime } from './format.ts';
import type { Status } from './status.ts';

export type Colours = 'coloured' | 'plain';

const codes = { good: 32, bad: 31, warn: 33, soft: 2, bold: 1 } as const;
type Paint = (colour: keyof typeof codes, text: string) => string;

const verdictColours = {
  protected: 'good',
  unproven: 'warn',
  blocked: 'bad',
  paused: 'warn',
  stopping: 'warn',
} as const;
const mostClients = 20;
const mostEvents = 5;

/** A status for a terminal: the verdict, the way out, clients by what they moved, what was refused, the latest events. */
export function renderTable(seen: Status, colours: Colours): string {
  const status = withoutControls(seen);
  const paint: Paint = (colour, text) => (colours === 'plain' ? text : `\x1b[${codes[colour]}m${text}\x1b[0m`);
  const { verdict, health, traffic, trafficPastTunnel: past, at } = status;
  const sections = [
    [
      `${paint('bold', paint(verdictColours[verdict.kind], verdict.kind.toUpperCase()))}  ${verdict.text}`,
      ...(verdict.hint === undefined ? [] : [`${paint('soft', 'what to do')}  ${verdict.hint}`]),
      ...(health.nextTry === undefined ? [] : [`${paint('soft', 'next try')}  ${formatTime(health.nextTry)}`]),
    ],
    columns(
      status.tunnels.map((tunnel) => [
        tunnel.interface,
        tunnel.isCarrying ? 'carries' : 'standby',
        `${tunnel.healthy ? 'proven' : tunnel.state} ${formatSince(tunnel.since, at)}`,
        tunnel.remote ?? '-',
        [tunnel.tunnelAddress ?? '-', tunnel.tunnelIpv6Address].join(' ').trim(),
        tunnel.profile ?? '-',
      ]),
      { heads: ['TUNNEL', 'ROLE', 'STATE', 'SERVER', 'ADDRESS', 'PROFILE'], paint },
    ),
    [
      `received ${formatBytes(traffic.receivedBytes)}, sent ${formatBytes(traffic.sentBytes)}, repairs ${health.repairs}`,
      ...(past === undefined
        ? []
        : [`past the tunnel: received ${formatBytes(past.receivedBytes)}, sent ${formatBytes(past.sentBytes)}`]),
    ],
    clientLines(status, paint),
    columns(
      status.refused.map(({ reason, packets }) => [reason, formatCount(packets), describeReason(reason)]),
      { heads: ['REFUSED', 'PACKETS', 'WHAT'], paint },
    ),
    status.events.slice(-mostEvents).map(({ at: time, level, message, details }) => {
      const line = `${formatTime(time)} ${message}  ${details.join(' ')}`;
      return level === 'info' ? line : paint(level === 'warn' ? 'warn' : 'bad', line);
    }),
    (status.doctor?.findings ?? []).map(({ severity, code, what }) =>
      paint(severity === 'warning' ? 'warn' : 'bad', `${severity} ${code}: ${what}`),
    ),
  ];
  return sections
    .filter((lines) => lines.length > 0)
    .map((lines) => `${lines.join('\n')}\n`)
    .join('\n');
}

function clientLines({ clients }: Status, paint: Paint): readonly string[] {
  const moved = (client: Status['clients'][number]) => client.receivedBytes + client.sentBytes;
  const busiest = clients.toSorted((one, other) => moved(other) - moved(one)).slice(0, mostClients);
  const rows = busiest.map((client) => [
    client.name ?? client.address,
    client.address,
    formatBytes(client.receivedBytes),
    formatBytes(client.sentBytes),
    formatCount(client.openings),
    formatCount(Object.values(client.refused).reduce((sum, packets) => sum + packets, 0)),
  ]);
  const rest = clients.length - busiest.length;
  return [
    ...columns(rows, { heads: ['CLIENT', 'ADDRESS', 'RECEIVED', 'SENT', 'OPENED', 'REFUSED'], paint }),
    ...(rest > 0 ? [paint('soft', `and ${rest} more`)] : []),
  ];
}

function columns(
  rows: readonly (readonly string[])[],
  { heads, paint }: { readonly heads: readonly string[]; readonly paint: Paint },
): readonly string[] {
  if (rows.length === 0) return [];
  const widths = heads.map((head, index) => Math.max(head.length, ...rows.map((row) => (row[index] ?? '').length)));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, index) => cell.padEnd(widths[index] ?? 0))
      .join('  ')
      .trimEnd();
  return [paint('soft', line(heads)), ...rows.map(line)];
}

/** Names and reasons come from elsewhere: none can reach the terminal as a control sequence. */
function withoutControls(status: Status): Status {
  return JSON.parse(JSON.stringify(status), (_, value) => (typeof value === 'string' ? escapeInvisible(value) : value));
}
