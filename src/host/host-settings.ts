import { parseHealthAddress } from '../config/health.ts';
import type { LogFormat, LogLevel, RouterConfig } from '../config/router-config.ts';
import { type Fault, faulty, ok, type Parsed } from '../errors.ts';

/** What the environment says; the rest is in the host file and on labels. */
export interface HostSettings {
  /** Path of the host file. It need not be there. */
  readonly file: string;
  /** network-go's file. `isRequired`: somebody said where it is. */
  readonly networksFile: { readonly path: string; readonly isRequired: boolean };
  /** The longest time between two looks at everything. */
  readonly watchPeriodMs: number;
  readonly dockerHost: string;
  /** A folder with ca.pem, cert.pem and key.pem; absent: no TLS. */
  readonly dockerCertificates?: string;
  readonly health: RouterConfig['healthAddress'];
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
}

/** Reads the environment of the host role, or finds every fault in it. */
export function parseHostSettings(env: Readonly<Record<string, string | undefined>>): Parsed<HostSettings> {
  const faults: Fault[] = [];
  const choose = <T extends string>(name: string, choices: readonly T[], unset: T): T => {
    const value = env[name]?.trim() ?? '';
    const found = choices.find((choice) => choice === value);
    if (value !== '' && found === undefined) {
      faults.push({ name, value, problem: 'is none of the choices', hint: `use ${choices.join(', ')}` });
    }
    return found ?? unset;
  };
  const isDebug = /^(1|true)$/i.test(env.DEBUG?.trim() ?? '');
  const logLevel = choose('LOG_LEVEL', ['debug', 'info', 'warn', 'error'], isDebug ? 'debug' : 'info');
  const logFormat = choose('LOG_FORMAT', ['text', 'json'], 'text');
  const health = parseHealthAddress(env.HEALTH_ADDR?.trim() || '127.0.0.1:9798');
  const period = env.WATCH_PERIOD_SECONDS?.trim() || '30';
  if (!/^[1-9]\d{0,3}$/.test(period)) {
    const problem = 'is no number of seconds from 1 to 9999';
    faults.push({ name: 'WATCH_PERIOD_SECONDS', value: period, problem, hint: 'use 30, or leave it out' });
  }
  if (health.kind === 'faults') return faulty(...faults, ...health.faults);
  const networksPath = env.NETWORKS_CONFIG_PATH?.trim() ?? '';
  const settings: HostSettings = {
    file: env.HOST_CONFIG?.trim() || '/config/host.yaml',
    networksFile: { path: networksPath || '/etc/user/config/networks.json', isRequired: networksPath !== '' },
    watchPeriodMs: Number(period) * 1_000,
    dockerHost: env.DOCKER_HOST?.trim() ?? '',
    // Any value, as for Docker's own client.
    ...(env.DOCKER_TLS_VERIFY ? { dockerCertificates: env.DOCKER_CERT_PATH || `${env.HOME ?? ''}/.docker` } : {}),
    health: health.value,
    logLevel,
    logFormat,
  };
  return faults.length > 0 ? faulty(...faults) : ok(settings);
}
