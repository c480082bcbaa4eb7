import { renderChart, renderSparkline } from './chart.ts';
import { describeReason, formatBytes, formatCount, formatRate, formatSince, formatTime } from './format.ts';
import type { Event, Finding, ForwardReport, Status, Traffic } from './status.ts';

/** The parts of the page that change, each in a place of its own; the browser renders them by the same function. */
export type PartName =
  | 'verdict'
  | 'exit'
  | 'traffic'
  | 'tunnels'
  | 'clients'
  | 'refused'
  | 'forwards'
  | 'events'
  | 'repairs'
  | 'doctor';

/** In the order of the page. */
const headings: Readonly<Record<Exclude<PartName, 'verdict'>, string>> = {
  exit: 'Exit',
  traffic: 'Throughput, last hour',
  clients: 'Clients',
  tunnels: 'Tunnels',
  forwards: 'Port forwards',
  refused: 'Refused packets',
  repairs: 'Repairs after changes by others',
  events: 'Events',
  doctor: 'Doctor',
};

const mostRows = 300;
const mostForwards = 50;

/**
 * Every part as HTML. `before` is an earlier status, for rates; without one they are those of the last step of the
 * history, and the page leaves out what is only for the eye, because it is not live.
 */
export function renderParts(status: Status, before?: Status): Readonly<Record<PartName, string>> {
  return {
    verdict: renderVerdict(status),
    exit: renderExit(status),
    traffic: renderTraffic(status, before),
    tunnels: renderTunnels(status),
    clients: renderClients(status, before),
    refused: renderRefused(status),
    forwards: renderForwards(status),
    events: renderEvents(status.events, 'Nothing has happened yet.'),
    repairs: renderEvents(status.repairs, 'Nobody else has changed anything.'),
    doctor: renderDoctor(status),
  };
}

/** The whole document, complete without a script. */
export function renderPage(status: Status): string {
  const parts = renderParts(status);
  const sections = (Object.keys(headings) as (keyof typeof headings)[]).map(
    (name) =>
      `<section class="${name}" aria-labelledby="h-${name}"><h2 id="h-${name}">${headings[name]}</h2>` +
      `<div id="${name}" class="part" role="region" aria-labelledby="h-${name}" tabindex="0">${parts[name]}</div></section>`,
  );
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Underbridge</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<link rel="icon" href="/icon.svg"><link rel="stylesheet" href="/page.css"><script src="/page.js" defer></script>
<noscript><meta http-equiv="refresh" content="10"></noscript></head>
<body><a class="skip" href="#main">Skip to the details</a>
<header><h1>Underbridge</h1><p id="live" role="status">Not live: this is how it was at ${formatTime(status.at)}.</p>
<div id="verdict" role="status">${parts.verdict}</div></header>
<main id="main" tabindex="-1">${sections.join('')}${status.hasControl ? control : ''}</main>
<footer><p>Underbridge ${escapeHtml(status.version)} · <a href="/status">status</a> · <a href="/metrics">metrics</a></p></footer>
</body></html>
`;
}

const control = `<section class="control" aria-labelledby="h-control" hidden><h2 id="h-control">Control</h2>
<form id="control"><label>Token <input type="password" name="token" autocomplete="off" required></label>
<span class="buttons"><button value="reconnect">Reconnect</button><button value="next">Next profile</button>
<button value="pause">Pause</button><button value="reload">Reload</button></span>
<p id="outcome" role="status"></p></form></section>`;

const words = {
  protected: 'Protected',
  unproven: 'Unproven',
  blocked: 'Blocked',
  paused: 'Paused',
  stopping: 'Stopping',
} as const;

function renderVerdict({ verdict: { kind, text, hint }, health: { nextTry } }: Status): string {
  const more = [
    ...(hint === undefined ? [] : [`What to do: ${hint}.`]),
    ...(nextTry === undefined ? [] : [`Next try at ${formatTime(nextTry)}.`]),
  ];
  return (
    `<div class="verdict ${kind}"><p class="word">${words[kind]}</p><p>${escapeHtml(text)}</p>` +
    `${more.map((line) => `<p class="hint">${escapeHtml(line)}</p>`).join('')}</div>`
  );
}

function renderExit({ health, gateway, connections, startedAt, at }: Status): string {
  const rows: readonly (readonly [string, string | undefined])[] = [
    ['Address in the tunnel', health.tunnelAddress ?? 'none'],
    ['IPv6 address in the tunnel', health.tunnelIpv6Address ?? health.ipv6],
    ['VPN server', health.remote ?? 'none'],
    ['Profile', health.profile],
    ['State', `${health.state}, for ${formatSince(health.since, at)}`],
    ['Attempts', `${health.attempts ?? 0}, ${health.failures ?? 0} failed since it last worked`],
    ['Gateway of the clients', gateway],
    ['Tracked connections', connections && `${formatCount(connections.open)} of ${formatCount(connections.limit)}`],
    ['Networks', health.networks?.text],
    ['Router started', `${formatSince(startedAt, at)} ago`],
  ];
  return `<dl>${rows.flatMap(([name, value]) => (value === undefined ? [] : `<div><dt>${name}</dt><dd>${escapeHtml(value)}</dd></div>`)).join('')}</dl>`;
}

function renderTraffic(status: Status, before: Status | undefined): string {
  const { traffic, trafficPastTunnel: past, history } = status;
  const total = (each: Traffic) => `${formatBytes(each.receivedBytes)} received, ${formatBytes(each.sentBytes)} sent`;
  const { received, sent } = ratesOf(status, before);
  return (
    `<p class="legend"><span class="in">received ${formatRate(received)}</span> <span class="out">sent ${formatRate(sent)}</span></p>` +
    `${renderChart(history)}<p>Since the start: ${total(traffic)}.${past === undefined ? '' : ` Past the tunnel: ${total(past)}.`}</p>`
  );
}

/** Bytes a second. */
function ratesOf({ at, traffic, history }: Status, before: Status | undefined) {
  const seconds = before === undefined ? 0 : (Date.parse(at) - Date.parse(before.at)) / 1000;
  if (before === undefined || seconds <= 0) {
    const { stepSeconds } = history;
    return {
      received: (history.received.at(-1) ?? 0) / stepSeconds,
      sent: (history.sent.at(-1) ?? 0) / stepSeconds,
    };
  }
  return {
    received: (traffic.receivedBytes - before.traffic.receivedBytes) / seconds,
    sent: (traffic.sentBytes - before.traffic.sentBytes) / seconds,
  };
}

function renderTunnels({ tunnels, at }: Status): string {
  const rows = tunnels.map((tunnel) => [
    tunnel.interface,
    tunnel.isCarrying ? 'carries clients' : 'stands by',
    `${tunnel.healthy ? 'proven' : tunnel.state}, for ${formatSince(tunnel.since, at)}`,
    tunnel.remote ?? tunnel.profile ?? '',
  ]);
  const profiles = tunnels.flatMap(({ profiles: each = [] }) => each);
  const others = profiles.filter(({ state }) => state !== 'in-use' && state !== 'trying');
  const list = others.map(({ name, state, failures }) => `<li>${escapeHtml(name)}: ${state}, ${failures} failed</li>`);
  return (
    table(['Device', 'Role', 'State', 'Server'], rows.map(toCells)) +
    (list.length === 0 ? '' : `<ul>${list.join('')}</ul>`)
  );
}

function renderClients({ clients, clientHistory }: Status, before: Status | undefined): string {
  if (clients.length === 0) return '<p>No client has sent anything yet.</p>';
  const rows = clients.slice(0, mostRows).map((client) => {
    const refused = Object.values(client.refused).reduce((sum, packets) => sum + packets, 0);
    const name = client.name === undefined ? '' : `<b>${escapeHtml(client.name)}</b> `;
    return [
      `${name}<span class="address">${escapeHtml(client.address)}</span>`,
      formatBytes(client.receivedBytes),
      formatBytes(client.sentBytes),
      formatCount(client.openings),
      formatCount(refused),
      before === undefined ? '' : renderSparkline(clientHistory.bytes[client.address] ?? []),
    ];
  });
  const more = clients.length > mostRows ? `<p>And ${clients.length - mostRows} more.</p>` : '';
  return table(['Client', 'Received', 'Sent', 'Opened', 'Refused', 'Last hour'], rows) + more;
}

function renderRefused({ refused }: Status): string {
  if (refused.length === 0) return '<p>Nothing was refused.</p>';
  const rows = refused.map(({ reason, packets }) => [describeReason(reason), reason, formatCount(packets)]);
  return table(['What', 'Rule', 'Packets'], rows.map(toCells));
}

function renderForwards({ forwards, dynamicForward }: Status): string {
  if (forwards.length === 0 && dynamicForward === undefined) return '<p>No port is forwarded.</p>';
  const rows = forwards
    .slice(0, mostForwards)
    .map(({ outside, transports, inside, ...to }) => [outside, transports.join(', '), `${whereOf(to)}:${inside}`]);
  if (dynamicForward !== undefined) {
    const { port, publicAddress, problem, protocol, transports, inside, ...to } = dynamicForward;
    const given = port === undefined ? `none${problem === undefined ? '' : `: ${problem}`}` : `${port}`;
    const by = `by ${protocol}${publicAddress === undefined ? '' : `, ${publicAddress}`}`;
    rows.unshift([`${given} (${by})`, transports.join(', '), `${whereOf(to)}:${inside}`]);
  }
  const more = forwards.length > mostForwards ? `<p>And ${forwards.length - mostForwards} more.</p>` : '';
  return table(['Port of the tunnel', 'Protocol', 'Leads to'], rows.map(toCells)) + more;
}

/** A container by name with its address, or its address alone. */
function whereOf({
  target,
  address,
  addresses = address === undefined ? [] : [address],
}: Pick<ForwardReport, 'target' | 'addresses'> & { readonly address?: string }): string {
  return addresses.length === 0 || addresses[0] === target ? target : `${target} (${addresses.join(', ')})`;
}

function renderEvents(events: readonly Event[], none: string): string {
  if (events.length === 0) return `<p>${none}</p>`;
  const items = events
    .toReversed()
    .map(
      ({ at, level, message, details }) =>
        `<li class="${level}"><time datetime="${at}">${formatTime(at)}</time> <b>${level === 'info' ? '' : `${level}: `}${escapeHtml(message)}</b> ${escapeHtml(details.join(' · '))}</li>`,
    );
  return `<ol>${items.join('')}</ol>`;
}

function renderDoctor({ doctor }: Status): string {
  if (doctor === undefined) return '<p>Doctor has not looked yet.</p>';
  if (doctor.findings.length === 0) return `<p>Nothing found at ${formatTime(doctor.at)}.</p>`;
  return `<ul>${doctor.findings.map(renderFinding).join('')}</ul>`;
}

function renderFinding({ code, severity, what, why, remedy }: Finding): string {
  return `<li class="${severity}"><b>${severity}: ${escapeHtml(what)}.</b> ${escapeHtml(why.charAt(0).toUpperCase() + why.slice(1))}. Remedy: ${escapeHtml(remedy)} <code>${escapeHtml(code)}</code></li>`;
}

function toCells(texts: readonly string[]): readonly string[] {
  return texts.map(escapeHtml);
}

/** A row is named by its first cell. Cells are HTML. */
function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const head = heads.map((text) => `<th scope="col">${text}</th>`).join('');
  const body = rows.map(
    ([first, ...cells]) => `<tr><th scope="row">${first}</th>${cells.map((cell) => `<td>${cell}</td>`).join('')}</tr>`,
  );
  return `<table><thead><tr>${head}</tr></thead><tbody>${body.join('')}</tbody></table>`;
}

function escapeHtml(text: string): string {
  if (!/[&<>"']/.test(text)) return text;
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}
