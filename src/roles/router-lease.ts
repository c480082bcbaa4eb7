import { randomBytes } from 'node:crypto';
import type { MappingProtocol } from '../config/router-config.ts';
import type { Ipv4 } from '../net/address.ts';
import { isAbout, type Question } from '../port-mapping/codec.ts';
import { addAnswer, addSilence, type Lease, nextQuestion, startLease } from '../port-mapping/lease.ts';
import { natPmp } from '../port-mapping/nat-pmp.ts';
import { nonceBytes, pcp } from '../port-mapping/pcp.ts';
import { askByDatagram } from '../system/datagram.ts';

/** RFC 6886, 1.1; RFC 6887, 19.2. */
const serverPort = 5351;

/** How often a gateway is asked whether it is still the same; a lease that it lost is asked for again then. */
const watchMs = 5_000;

/** RFC 6886, 3.1: 250 ms, doubled each time. What is lost is asked for again at the next look. */
const waitsMs = [250, 500, 1_000, 2_000];
/** A stop cannot wait that long. */
const removalWaitsMs = [100, 200];

/** A port of the gateway of one tunnel, kept as long as that tunnel is. */
export interface LeaseKeeper {
  /** Gives the ports back where that is asked for; nothing is told any more. */
  readonly end: (how: 'give-back' | 'leave') => Promise<void>;
}

/** Asks the gateway for ports through the tunnel, renews them at half-life, and tells of every answer. */
export function keepLease({
  tun,
  gateway,
  onAnswer,
  ...wanted
}: Pick<Lease, 'transports' | 'inside' | 'wish'> & {
  readonly protocol: MappingProtocol;
  /** The tunnel by its own address. */
  readonly tun: { readonly address: Ipv4 };
  readonly gateway: Ipv4;
  readonly onAnswer: (lease: Lease) => void;
}): LeaseKeeper {
  const codec = wanted.protocol === 'natpmp' ? natPmp : pcp(tun.address, randomBytes(nonceBytes));
  let lease = startLease(wanted);
  let timer: NodeJS.Timeout | undefined;
  let isEnded = false;
  let atOnce = 0;

  const ask = (question: Question, waits: readonly number[]) =>
    askByDatagram({
      local: tun.address,
      remote: { address: gateway, port: serverPort },
      message: codec.render(question),
      waitsMs: waits,
      read: (message) => {
        const answer = codec.parse(message);
        return answer !== undefined && isAbout(answer, question) ? answer : undefined;
      },
    });

  const turn = async () => {
    const question = nextQuestion(lease, performance.now());
    const answer = await ask(question, waitsMs);
    if (isEnded) return;
    const nowMs = performance.now();
    lease = answer === undefined ? addSilence(lease, question, nowMs) : addAnswer(lease, { question, answer, nowMs });
    onAnswer(lease);
    // What else is due comes at once, but not over and over where it is refused; and so does the address, which NAT-PMP
    // tells apart from the port.
    const isNew = question.kind === 'map' && lease.publicAddress === undefined;
    // Nor where a clock runs backwards, which looks like a restart with each answer.
    const isDue =
      lease.problem === undefined &&
      atOnce <= wanted.transports.length &&
      (isNew || nextQuestion(lease, nowMs).kind === 'map');
    atOnce = isDue ? atOnce + 1 : 0;
    const renewals = Object.values(lease.mappings).map(({ renewAtMs }) => renewAtMs - nowMs);
    const pauseMs = isDue ? 0 : Math.max(1_000, Math.min(watchMs, ...renewals));
    timer = setTimeout(() => void turn(), pauseMs);
  };
  void turn();

  return {
    end: async (how) => {
      isEnded = true;
      clearTimeout(timer);
      if (how === 'leave') return;
      const held = lease.transports.filter((transport) => lease.mappings[transport] !== undefined);
      const removal = { kind: 'map', inside: lease.inside, outside: 0, lifetimeSeconds: 0 } as const;
      await Promise.all(held.map((transport) => ask({ ...removal, transport }, removalWaitsMs)));
    },
  };
}
