import { leaks, vpnExit } from './rows.ts';
import { duration, type Row } from './screen.ts';
import type { Stack } from './stack.ts';
import { clients, describeTries, knock, sentByClients, sum, tryUntil } from './tries.ts';

const patienceSeconds = 20;
const knockSeconds = 10;
/** "At once" to a person, and far below any timeout of a program that would wait for an answer. */
const immediateMs = 200;

/** Kills the VPN server while both clients try to get out, and reports what they and the uplink saw. */
export async function proveOutage(stack: Stack): Promise<Row[]> {
  const lineBefore = await stack.countLine();
  const sentBefore = await sentByClients(stack);
  await stack.docker('provider', 'kill', '--signal', 'KILL');
  const killedAt = Date.now();
  const [ending, firstKnocks] = await Promise.all([
    tryUntil(stack, { service: 'client1', how: 'refused', seconds: patienceSeconds }),
    knock(stack, { service: 'client2', seconds: knockSeconds }),
  ]);
  const laterKnocks = await knock(stack, { service: 'client1', seconds: knockSeconds / 2 });
  const sent = (await sentByClients(stack)) - sentBefore;
  const lineAfter = await stack.countLine();

  const tries = sum(firstKnocks, laterKnocks);
  const passed = { client: lineAfter.client - lineBefore.client, other: lineAfter.other - lineBefore.other };
  return [
    {
      done: 'VPN server killed; client1 connects',
      seen:
        ending.how === 'refused'
          ? `an error in ${duration(ending.tookMs)}, for the first time ${duration(ending.at - killedAt)} after the kill`
          : `no error within ${patienceSeconds} s (${ending.how})`,
      pass: ending.how === 'refused' && ending.tookMs <= immediateMs,
    },
    {
      done: 'both clients try to get out all the while',
      seen: `${describeTries(tries)}; ${sent} packets sent; ${tries.get('answered') === 0 ? 'none answered' : 'ANSWERED'}`,
      pass: sent > 0 && tries.get('answered') === 0,
    },
    {
      done: 'meanwhile on the uplink',
      seen: `${leaks(passed)}; ${lineAfter.openvpn - lineBefore.openvpn} of the VPN session`,
      pass: passed.client + passed.other === 0,
    },
  ];
}

/** Starts the VPN server again and waits for each client's next answer. */
export async function proveRecovery(stack: Stack): Promise<Row[]> {
  const before = await stack.countLine();
  const startedAt = Date.now();
  const [, ...endings] = await Promise.all([
    stack.docker('provider', 'start'),
    ...clients.map((service) => tryUntil(stack, { service, how: 'answered', seconds: patienceSeconds })),
  ]);
  const after = await stack.countLine();
  const passed = { client: after.client - before.client, other: after.other - before.other };
  return [
    ...clients.map((service, index): Row => {
      const ending = endings[index];
      const answered = ending?.how === 'answered';
      return {
        done: `VPN server started again; ${service} connects`,
        seen: answered
          ? `an answer ${duration(ending.at - startedAt)} after the start, exit address ${ending.exitAddress}`
          : `no answer within ${patienceSeconds} s (${ending?.how})`,
        pass: answered && ending.exitAddress === vpnExit,
      };
    }),
    { done: 'meanwhile on the uplink', seen: leaks(passed), pass: passed.client + passed.other === 0 },
  ];
}
