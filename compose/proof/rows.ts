import type { Row } from './screen.ts';
import type { LineCount, Service, Stack } from './stack.ts';
import { clients } from './tries.ts';

const web = '203.0.113.80';
/** The address that the world sees of whoever is behind the VPN. */
export const vpnExit = '203.0.113.10';
const strangersAnswer = '203.0.113.99';

/** A row without its verdict yet: run it to see. */
export type Check = (stack: Stack) => Promise<Row>;

/** The counter and the trap work: without a router, packets do arrive and are counted. */
export const leakTrapChecks: readonly Check[] = [
  (stack) => trap(stack, { done: '5 pings on the uplink without the router', counter: 'other' }),
  (stack) =>
    trap(stack, { done: "5 pings on the uplink from a client's address", counter: 'client', source: '172.22.0.66' }),
];

/** Which address the world sees. */
export const exitChecks: readonly Check[] = [
  (stack) => exit(stack, { service: 'probe', expected: '203.0.113.1', meaning: "the ISP's, as without a VPN" }),
  ...clients.map(
    (service): Check =>
      (stack) =>
        exit(stack, { service, expected: vpnExit, meaning: "the VPN's" }),
  ),
];

/** Who answers a client's question. */
export const dnsChecks: readonly Check[] = [
  (stack) => dns(stack, { service: 'probe', server: '9.9.9.9', expected: strangersAnswer, meaning: '9.9.9.9 itself' }),
  ...['9.9.9.9', '8.8.8.8', '172.22.0.1'].map(
    (server): Check =>
      (stack) =>
        dns(stack, { service: 'client1', server, expected: web, meaning: 'the enforced resolver' }),
  ),
  async (stack) => {
    const ran = await stack.exec('client2', 'curl', '-s', '--max-time', '4', 'http://any.example/');
    return { done: 'client2: curl http://any.example/', seen: said(ran), pass: ran.stdout === vpnExit };
  },
];

/** A caller in the internet reaches the client through the provider's address. */
export const forwardChecks: readonly Check[] = (['tcp', 'udp'] as const).map(
  (proto): Check =>
    async (stack) => {
      const flags = proto === 'udp' ? '-u -w 1' : '-w 2';
      const ran = await stack.exec('web', 'sh', '-c', `echo knock | nc ${flags} -s ${web} ${vpnExit} 4666`);
      return {
        done: `${web}: ${proto} to ${vpnExit}:4666`,
        seen: ran.stdout === '' ? said(ran) : `"${ran.stdout}"`,
        pass: ran.stdout === `client2 heard ${web}`,
      };
    },
);

/** What passed that should not have. */
export function leaks({ client, other }: Pick<LineCount, 'client' | 'other'>): string {
  return `${client} packets of clients, ${other} others`;
}

async function trap(
  stack: Stack,
  { done, counter, source }: { done: string; counter: 'client' | 'other'; source?: string },
): Promise<Row> {
  const before = await stack.countLine();
  const ran = await stack.exec('probe', 'leak', '5', ...(source === undefined ? [] : [source]));
  const after = await stack.countLine();
  const caught = { client: after.client - before.client, other: after.other - before.other };
  return {
    done,
    seen: `counted: ${leaks(caught)}`,
    pass: ran.stdout === '5' && caught[counter] >= 5,
  };
}

async function exit(
  stack: Stack,
  { service, expected, meaning }: { service: Service; expected: string; meaning: string },
): Promise<Row> {
  const ran = await stack.exec(service, 'curl', '-s', '--max-time', '4', `http://${web}/`);
  const pass = ran.stdout === expected;
  return { done: `${service}: exit address`, seen: pass ? `${expected}, ${meaning}` : said(ran), pass };
}

async function dns(
  stack: Stack,
  { service, server, expected, meaning }: { service: Service; server: string; expected: string; meaning: string },
): Promise<Row> {
  const ask = (...how: string[]) =>
    stack.exec(service, 'dig', '+short', '+tries=1', '+time=2', ...how, `@${server}`, 'example.org', 'A');
  const [udp, tcp] = [await ask(), await ask('+tcp')];
  const pass = udp.stdout === expected && tcp.stdout === expected;
  return {
    done: `${service} asks ${server} for example.org`,
    seen: pass ? `udp and tcp: ${expected}, from ${meaning}` : `udp: ${said(udp)}; tcp: ${said(tcp)}`,
    pass,
  };
}

function said({ code, stdout, stderr }: { code: number; stdout: string; stderr: string }): string {
  const text = (stdout || stderr)
    .split('\n')
    .filter((line) => line !== '' && line !== ';')
    .join(' ');
  return text === '' ? `no answer (exit ${code})` : text;
}
