import { type CleanedEnv, customCleanEnv, EnvMissingError } from 'envalid';
import type { Fault } from '../errors.ts';
import { findContradictions } from './contradictions.ts';
import { parseCredentialSource, parseTotpSource } from './credential-source.ts';
import { parseIpv6Gateway } from './ipv6.ts';
import { findMisspellings } from './misspelling.ts';
import type { RouterConfig } from './router-config.ts';
import { type GivenSettings, SettingError, type SettingName, type Settings, settingsFor } from './settings.ts';
import { clientsNetworkOf, isOwnNetwork, ownNetwork, unfitFaults } from './sidecar.ts';

/** What the environment says, and what it seems to have meant to say. */
export interface ParsedEnvironment {
  readonly config: RouterConfig;
  /** Variables that look like misspelled settings; they change nothing. */
  readonly warnings: readonly Fault[];
}

/** The whole configuration, or every fault and what could be read all the same: what a fault is about is undefined. */
export type EnvironmentReading =
  | { readonly kind: 'ok'; readonly value: ParsedEnvironment }
  | { readonly kind: 'faults'; readonly faults: readonly Fault[]; readonly readable: ReadableConfig };

export type ReadableConfig = { readonly [Name in keyof RouterConfig]?: RouterConfig[Name] | undefined };

/** Environment variables by name, such as `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Parses the environment into the configuration of the router, or into every fault that it holds.
 * With faults, misspelled variables are reported among them, since they are a likely cause.
 * No fault and no warning holds a user name or a password.
 */
export function parseRouterConfig(env: Environment): EnvironmentReading {
  const gateway = clientsNetworkOf(env);
  const isSidecar = gateway.kind === 'ok' && isOwnNetwork(gateway.value);
  const ipv6Gateway = parseIpv6Gateway(env.IP6_ADDR?.trim() ?? '');
  const carriesIpv6 = !isSidecar && env.IPV6?.trim().toLowerCase() === 'tunnel';
  const settings = settingsFor(
    gateway.kind === 'ok' ? gateway.value : undefined,
    carriesIpv6 ? { gateway: ipv6Gateway.kind === 'ok' ? ipv6Gateway.value : undefined } : undefined,
  );
  const given = pickGiven(env, settings);
  const settingFaults = new Map<SettingName, readonly Fault[]>();
  const values = customCleanEnv(
    { ...withDefaults(given, settings), ...(isSidecar && { IP_ADDR: ownNetwork.address }) },
    settings,
    (cleaned) => cleaned,
    {
      reporter: ({ errors }) => {
        for (const name of settingNamesOf(settings)) {
          const error = errors[name];
          if (error !== undefined) settingFaults.set(name, explain({ name, error, example: settings[name].example }));
        }
      },
    },
  );
  const unfit = isSidecar ? unfitFaults(given) : [];
  // What has to go contradicts nothing.
  const contradictions = unfit.length > 0 ? unfit : findContradictions(values, given);
  for (const [name, faults] of Map.groupBy(contradictions, (fault) => settingOf(fault)))
    settingFaults.set(name, faults);
  for (const name of findQuoted(given, settings)) settingFaults.set(name, [quotedFault(name)]);
  const credentials = parseCredentialSource({
    OPENVPN_CREDENTIALS_FILE: given.OPENVPN_CREDENTIALS_FILE,
    // The parsed value has lost a newline at its end; a value that is faulty still counts as given.
    OPENVPN_USERNAME: values.OPENVPN_USERNAME ?? given.OPENVPN_USERNAME,
    OPENVPN_USERNAME_FILE: given.OPENVPN_USERNAME_FILE,
    OPENVPN_PASSWORD: values.OPENVPN_PASSWORD ?? given.OPENVPN_PASSWORD,
    OPENVPN_PASSWORD_FILE: given.OPENVPN_PASSWORD_FILE,
  });
  const totp = parseTotpSource(values.TOTP_SECRET, given.TOTP_SECRET_FILE);
  const faults = settingNamesOf(settings).flatMap((name) => settingFaults.get(name) ?? []);
  const warnings = findMisspellings(
    Object.keys(env).filter((name) => isGiven(env[name])),
    settingNamesOf(settings),
  );
  for (const source of [credentials, totp]) if (source.kind === 'faults') faults.push(...source.faults);
  const settled = assemble(values);
  if (faults.length > 0 || credentials.kind === 'faults' || totp.kind === 'faults') {
    const sources = {
      credentials: credentials.kind === 'ok' ? credentials.value : undefined,
      totp: totp.kind === 'ok' ? totp.value : undefined,
    };
    return { kind: 'faults', faults: faults.concat(warnings), readable: { ...settled, ...sources } };
  }
  const secrets = { credentials: credentials.value, ...(totp.value !== undefined && { totp: totp.value }) };
  return { kind: 'ok', value: { config: { ...settled, ...secrets }, warnings } };
}

/** An entry of a list is told of by its setting's name and its number. */
function settingOf({ name }: Fault): SettingName {
  return name.split(' ', 1)[0] as SettingName;
}

/** What the settings say but for the secrets. Where one is faulty, its value and all that needs it are undefined. */
function assemble(values: CleanedEnv<Settings>): Omit<RouterConfig, 'credentials' | 'totp'> {
  const isSidecar = values.MODE === 'sidecar';
  const lanAllowances = [...(values.LAN_ALLOW ?? []), ...(values.LAN_ALLOW_IN ?? [])];
  return {
    gateway: values.IP_ADDR,
    ...(isSidecar && { isSidecar: true as const }),
    ...(values.IPV6 === 'tunnel' && values.IP6_ADDR !== undefined && { ipv6: { gateway: values.IP6_ADDR } }),
    profileNames: values.CONFIG ?? [],
    failback: values.FAILBACK,
    authRetry: values.AUTH_RETRY,
    hasStandby: values.STANDBY === 'on',
    dns: values.DNS,
    ...localResolverOf(values),
    forwards: (values.PORT_FWD ?? []).filter((forward) => 'target' in forward),
    namedForwards: (values.PORT_FWD ?? []).filter((forward) => 'host' in forward),
    ...(values.PORT_FWD_HAIRPIN === 'on' && { hairpin: true as const }),
    ...(values.PORT_FWD_DYNAMIC !== undefined && { dynamicForward: values.PORT_FWD_DYNAMIC }),
    ...(values.PORT_FWD_FILE !== undefined && { forwardFile: values.PORT_FWD_FILE }),
    ...(values.PORT_FWD_HOOK !== undefined && { forwardHook: values.PORT_FWD_HOOK }),
    ...(lanAllowances.length > 0 && { lanAllowances }),
    ...(values.UPLINK_GATEWAY !== undefined && { uplinkGateway: values.UPLINK_GATEWAY }),
    ...(values.UPLINK_GATEWAY6 !== undefined && { uplinkGateway6: values.UPLINK_GATEWAY6 }),
    healthAddress: values.HEALTH_ADDR,
    ...(values.CONTROL_TOKEN_FILE !== undefined && { controlTokenFile: values.CONTROL_TOKEN_FILE }),
    probe: values.HEALTH_PROBE,
    ...(values.MTU !== undefined && { mtuBytes: values.MTU }),
    ...(values.MSS !== undefined && { mssBytes: values.MSS }),
    ...(values.CONNECTION_LIMIT > 0 && !isSidecar && { connectionLimit: values.CONNECTION_LIMIT }),
    firewall: values.FIREWALL,
    timeZone: values.TZ,
    logLevel: values.LOG_LEVEL,
    logFormat: values.LOG_FORMAT,
  };
}

/** The router's own resolver, where something needs it. A local process's question can be led to it without another address. */
function localResolverOf({
  MODE: mode,
  DNS: dns,
  DNS_CACHE: cache,
  DNS_LOCAL: zones = [],
  DNS_CA_FILE: authoritiesFile,
}: CleanedEnv<Settings>): Pick<RouterConfig, 'localResolver'> {
  // While DNS is faulty, what stands beside it is still looked at.
  const isNeeded = dns?.kind === 'tls' || zones.length > 0 || cache === 'on' || authoritiesFile !== undefined;
  if (!isNeeded && mode !== 'sidecar') return {};
  return {
    localResolver: { isCaching: cache !== 'off', zones, ...(authoritiesFile === undefined ? {} : { authoritiesFile }) },
  };
}

/** The settings that the user gave; an empty one counts as not given, as Compose writes `${UNSET}`. */
function pickGiven(env: Environment, settings: Settings): GivenSettings {
  return Object.fromEntries(
    settingNamesOf(settings).flatMap((name) => {
      const text = settings[name].whitespace === 'trim' ? env[name]?.trim() : env[name];
      return isGiven(text) ? [[name, text]] : [];
    }),
  );
}

function isGiven(text: string | undefined): boolean {
  return text !== undefined && text !== '';
}

function withDefaults(given: GivenSettings, settings: Settings): GivenSettings {
  const defaults = settingNamesOf(settings).flatMap((name) => {
    const { unset } = settings[name];
    return unset.kind === 'value' ? [[name, unset.text] as const] : [];
  });
  return { ...Object.fromEntries(defaults), ...given };
}

function explain({
  name,
  error,
  example,
}: {
  readonly name: SettingName;
  readonly error: Error;
  readonly example: string;
}): readonly Fault[] {
  if (error instanceof SettingError) return error.faults;
  if (error instanceof EnvMissingError) {
    return [{ name, problem: 'is not set', hint: `set it, for example ${name}=${example}` }];
  }
  throw error;
}

/** A Compose list takes the marks of `- DNS="1.1.1.1"` into the value. In a secret they may belong there. */
function findQuoted(given: GivenSettings, settings: Settings): readonly SettingName[] {
  return settingNamesOf(settings).filter(
    (name) => settings[name].whitespace === 'trim' && /^(["']).*\1$/s.test(given[name] ?? ''),
  );
}

function quotedFault(name: SettingName): Fault {
  return {
    name,
    problem: 'has quotation marks around its value',
    hint: 'leave them out, or in a Compose list put them around the whole entry',
  };
}

function settingNamesOf(settings: Settings): readonly SettingName[] {
  return Object.keys(settings) as SettingName[];
}
