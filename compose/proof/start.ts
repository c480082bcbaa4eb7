import { leaks, vpnExit } from './rows.ts';
import { duration, type Row } from './screen.ts';
import type { Stack } from './stack.ts';
import { describeTries, knock, tryUntil } from './tries.ts';

const patienceSeconds = 30;
const knockSeconds = 4;

/** Starts the router while both clients are trying already, and reports the first answer and what the uplink saw. */
export async function proveStart(stack: Stack): Promise<Row[]> {
  const [ending, tries] = await Promise.all([
    tryUntil(stack, { service: 'client1', how: 'answered', seconds: patienceSeconds }),
    knock(stack, { service: 'client2', seconds: knockSeconds }),
    stack.startRouter(),
  ]);
  const startedAt = Date.parse(await stack.docker('router', 'inspect', '--format', '{{.State.StartedAt}}'));
  const line = await stack.countLine();
  const answered = ending.how === 'answered';
  return [
    {
      done: 'client1 connects while the router starts',
      seen: answered
        ? `an answer ${duration(ending.at - startedAt)} after the start, exit address ${ending.exitAddress}`
        : `no answer within ${patienceSeconds} s (${ending.how})`,
      pass: answered && ending.exitAddress === vpnExit,
    },
    { done: 'client2 tries to get out all the while', seen: describeTries(tries), pass: (tries.get('udp') ?? 0) > 0 },
    {
      done: 'meanwhile on the uplink',
      seen: `${leaks(line)}; ${line.openvpn} of the VPN session`,
      pass: line.openvpn > 0 && line.client + line.other === 0,
    },
  ];
}
