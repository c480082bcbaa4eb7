import { canaryName, resolverPort } from '../config/own-resolver.ts';
import { type DnsCause, dnsHintOf, explainMiss, readCertificateProblem } from '../dns/fault.ts';
import { renderResolverSettings, type Upstream, upstreamsOf } from '../dns/resolver-settings.ts';
import type { DnsReport } from '../health/report.ts';
import { type Ipv4, isIpv4, type Port } from '../net/address.ts';
import { resolverUid } from '../plan/local-resolver.ts';
import type { Log } from '../system/log.ts';
import { askResolver, type ResolverProcess, startResolver } from '../system/resolver.ts';
import type { Policy, TunnelLink } from '../tunnel/policy.ts';
import type { RouterSetup } from './router-setup.ts';

/** How often names are tried, and again after a miss; an answer has so long. Two misses in a row are a failure. */
const canary = { everyMs: 10_000, againMs: 1_000, waitMs: 4_000, missesUntilFailing: 2 } as const;

/** A resolver that ended is started again after that. */
const restartMs = 1_000;

/** Names of clients: the router's own resolver, where one is asked for, and whether names resolve. */
export interface RouterDns {
  /** To be called with each policy that the kernel holds. */
  readonly follow: (policy: Policy) => void;
  readonly report: () => DnsReport | undefined;
  readonly stop: () => Promise<void>;
}

/** Nothing runs and nothing is asked while there is no tunnel; each tunnel begins with a new resolver. */
export function openDns({
  setup: { config },
  log,
  runFolder,
}: {
  readonly setup: Pick<RouterSetup, 'config'>;
  readonly log: Log;
  readonly runFolder: () => string;
}): RouterDns {
  const { localResolver } = config;
  // Else the probe itself asks the resolvers.
  const isTried = localResolver !== undefined || config.probe.kind === 'tcp';
  let followed: TunnelLink | undefined;
  let upstreams: readonly Upstream[] = [];
  let running: ResolverProcess | undefined;
  let ending: Promise<void> = Promise.resolve();
  let timer: NodeJS.Timeout | undefined;
  let state: DnsReport['state'] = 'unknown';
  let cause: DnsCause | undefined;
  let misses = 0;
  let certificateProblem: string | undefined;

  if (localResolver !== undefined && localResolver.zones.length > 0) {
    log.warn('DNS_LOCAL: these domains are asked past the tunnel', {
      zones: localResolver.zones.map(({ domain, address }) => `${domain}=${address}`),
      hint: 'whoever is on the way there sees which of their names are asked; leave DNS_LOCAL out, and nothing is',
    });
  }

  const later = (ms: number, work: () => void) => {
    clearTimeout(timer);
    timer = setTimeout(work, ms);
  };

  const fail = (next: DnsCause) => {
    if (state !== 'failing' || cause?.text !== next.text) {
      log.warn('names do not resolve, although the tunnel works', {
        cause: next.code,
        reason: next.text,
        hint: dnsHintOf(next.code),
      });
    }
    state = 'failing';
    cause = next;
  };

  const restart = (tun: TunnelLink, reason: string) => {
    running = undefined;
    fail({ code: 'resolver-ended', text: `the router's own resolver ended: ${reason}` });
    later(restartMs, () => begin(tun));
  };

  const start = (tun: TunnelLink) => {
    if (localResolver === undefined) return;
    running = startResolver({
      uid: resolverUid,
      folder: `${runFolder()}-dns`,
      authoritiesFile: localResolver.authoritiesFile,
      settings: (authorities) => renderResolverSettings({ config, resolver: localResolver, upstreams, authorities }),
      log,
      onLine: (line) => {
        certificateProblem = readCertificateProblem(line) ?? certificateProblem;
      },
      onEnd: (reason) => restart(tun, reason),
    });
  };

  const watch = async (tun: TunnelLink): Promise<void> => {
    const [first] = upstreams.map(({ address }) => address).filter(isIpv4);
    if (first === undefined) return;
    const whom: { address: Ipv4; port: Port; localAddress?: Ipv4 } =
      localResolver === undefined
        ? { address: first, port: 53 as Port, localAddress: tun.address }
        : { address: config.gateway.address, port: resolverPort };
    const miss = await askResolver({ ...whom, name: canaryName, waitMs: canary.waitMs });
    // It may be another tunnel's time by now.
    if (followed !== tun || (localResolver !== undefined && running === undefined)) return;
    if (miss === undefined) {
      if (state === 'failing') log.info('names resolve again');
      state = 'ok';
      cause = undefined;
      certificateProblem = undefined;
      misses = 0;
    } else {
      misses += 1;
      if (misses >= canary.missesUntilFailing) fail(explainMiss({ miss, upstreams, certificateProblem }));
    }
    later(miss === undefined ? canary.everyMs : canary.againMs, () => void watch(tun));
  };

  const begin = (tun: TunnelLink) => {
    try {
      start(tun);
    } catch (error) {
      // A disk that is full, a file that went away.
      if (!(error instanceof Error && 'code' in error)) throw error;
      return restart(tun, error.message);
    }
    void watch(tun);
  };

  const end = () => {
    clearTimeout(timer);
    followed = undefined;
    state = 'unknown';
    cause = undefined;
    certificateProblem = undefined;
    misses = 0;
    const ended = running;
    running = undefined;
    if (ended !== undefined) ending = Promise.all([ending, ended.end()]).then(() => undefined);
  };

  return {
    follow: (policy) => {
      const tun = policy.kind === 'forward' ? policy.tun : undefined;
      if (tun === followed) return;
      end();
      upstreams = tun === undefined ? [] : upstreamsOf(config, tun);
      if (tun === undefined || !isTried || upstreams.length === 0) return;
      followed = tun;
      void ending.then(() => followed === tun && begin(tun));
    },
    report: () =>
      isTried
        ? {
            resolver: localResolver === undefined ? 'none' : 'unbound',
            state,
            ...(localResolver === undefined || localResolver.zones.length === 0
              ? {}
              : { pastTunnel: localResolver.zones.map(({ domain, address }) => `${domain}=${address}`) }),
            ...(cause === undefined ? {} : { cause: { ...cause, hint: dnsHintOf(cause.code) } }),
          }
        : undefined,
    stop: () => {
      end();
      return ending;
    },
  };
}
