import { EnvError, makeExactValidator, type OptionalValidatorSpec, type RequiredValidatorSpec } from 'envalid';
import { type Fault, ok, type Parsed } from '../errors.ts';
import type { Ipv4Cidr } from '../net/address.ts';
import { defaultCredentialsPath } from './credential-source.ts';
import { parseSecret, parseTotp } from './credentials.ts';
import { parseDns } from './dns.ts';
import { parseLocalZones } from './dns-local.ts';
import { parseDynamicForward, parseForwardHook } from './dynamic-forward.ts';
import { parseGateway } from './gateway.ts';
import { parseHealthAddress, parseHealthProbe } from './health.ts';
import { type IsolatedIpv6, parseIpv6Gateway, parseUplinkGateway6 } from './ipv6.ts';
import { parseLanAllow } from './lan-allow.ts';
import { parsePortForwards } from './port-forward.ts';
import type { AuthRetry, FirewallChoice, LogFormat, LogLevel } from './router-config.ts';
import {
  parseChoice,
  parseConnectionLimit,
  parseFailback,
  parseMss,
  parseMtu,
  parseProfileNames,
  parseSecretPath,
  parseTimeZone,
  parseUplinkGateway,
} from './scalar.ts';
import { isOwnNetwork, ownNetwork } from './sidecar.ts';

const modes = ['router', 'sidecar'] as const;
const logLevels: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];
const authRetries: readonly AuthRetry[] = ['slow', 'stop'];
const firewalls: readonly FirewallChoice[] = ['auto', 'nft', 'iptables-nft', 'iptables-legacy'];
const logFormats: readonly LogFormat[] = ['text', 'json'];

/** What holds while a setting is unset: text that goes through its validator, or words for what the router does. */
export type Unset =
  | { readonly kind: 'value'; readonly text: string }
  | { readonly kind: 'words'; readonly markdown: string };

/** What the README and the parser know about a setting beyond its validator. */
export interface SettingDocs {
  /** What it means, whole sentences in Markdown. */
  readonly desc: string;
  /** A value as a user would write it; the validator takes it. */
  readonly example: string;
  readonly unset: Unset;
  /** `verbatim` keeps the white space around a value, since in a secret it may be part of it. */
  readonly whitespace: 'trim' | 'verbatim';
}

interface Declaration<T> extends Omit<SettingDocs, 'whitespace'> {
  readonly parse: (text: string) => Parsed<T>;
  readonly whitespace?: SettingDocs['whitespace'];
}

/** Carries every fault of one setting through envalid, which keeps a single error for each variable. */
export class SettingError extends EnvError {
  readonly faults: readonly Fault[];

  constructor(faults: readonly Fault[]) {
    super('the setting is faulty');
    this.faults = faults;
  }
}

/**
 * The schema: every setting of the router in the order of the README, each with its envalid validator.
 *
 * @param isolated the isolated network, which other settings are compared with; undefined when IP_ADDR is faulty
 * @param ipv6 the same for IPv6; undefined while IPV6 is off
 */
export function settingsFor(isolated: Ipv4Cidr | undefined, ipv6?: IsolatedIpv6) {
  return {
    MODE: required({
      desc:
        'Whose packets go through the tunnel: `router` those of an isolated network, `sidecar` those of all containers ' +
        "in the router's own network namespace ([docs/sidecar.md](docs/sidecar.md)).",
      example: 'sidecar',
      unset: { kind: 'value', text: 'router' },
      parse: (text) => parseChoice({ name: 'MODE', text, choices: modes }),
    }),
    IP_ADDR: required({
      desc: 'Gateway address that the router claims, with the prefix length of the isolated network.',
      example: '172.22.0.1/24',
      unset: { kind: 'words', markdown: 'required, but for `MODE: sidecar`' },
      parse: (text) => (isOwnNetwork(isolated) ? ok(ownNetwork) : parseGateway(text)),
    }),
    CONFIG: optional({
      desc:
        'OpenVPN profile, a file in `/config` or an absolute path. A list with commas, or a folder, is an order: ' +
        'when one profile fails, the next is tried.',
      example: 'fast.ovpn, spare.ovpn',
      unset: { kind: 'words', markdown: 'the only `.ovpn` or `.conf` in `/config`' },
      parse: parseProfileNames,
    }),
    FAILBACK: required({
      desc:
        'When a tunnel of a later profile is left for an earlier one: `idle` after a minute without traffic of clients, ' +
        'so many minutes after it came up, or `off`.',
      example: '30',
      unset: { kind: 'value', text: 'idle' },
      parse: parseFailback,
    }),
    STANDBY: required({
      desc:
        'Whether a second tunnel is kept connected, to the next profile: `on` or `off`. When the first is lost, clients ' +
        'go on through the second within a second.',
      example: 'on',
      unset: { kind: 'value', text: 'off' },
      parse: (text) => parseChoice({ name: 'STANDBY', text, choices: ['on', 'off'] }),
    }),
    AUTH_RETRY: required({
      desc:
        'What follows five refused logins in a row: `slow` tries that profile again every ten minutes, ' +
        '`stop` not until the router is started anew.',
      example: 'stop',
      unset: { kind: 'value', text: 'slow' },
      parse: (text) => parseChoice({ name: 'AUTH_RETRY', text, choices: authRetries }),
    }),
    DNS: required({
      desc:
        'Resolvers that clients get whatever they ask: addresses (of IPv6 with `IPV6: tunnel` only), `vpn` for what ' +
        'the VPN server pushes, or `tls://ADDRESS#NAME` for DNS over TLS, with the name in the certificate.',
      example: '1.1.1.1, 9.9.9.9',
      unset: { kind: 'value', text: 'vpn' },
      parse: (text) => parseDns(text, isolated, ipv6),
    }),
    DNS_CACHE: optional({
      desc: 'Whether answers are kept: `on` or `off`. `on` starts a resolver in the router, if nothing else has done so.',
      example: 'on',
      unset: { kind: 'words', markdown: '`on` with `tls://` or `DNS_LOCAL`, else `off`' },
      parse: (text) => parseChoice({ name: 'DNS_CACHE', text, choices: ['on', 'off'] }),
    }),
    DNS_LOCAL: optional({
      desc:
        'Domains that are asked **past the tunnel**: a list of `DOMAIN=ADDRESS`. The router itself, and nothing else, ' +
        'may then send DNS to these addresses on the uplink.',
      example: 'lan.example=192.168.1.1',
      unset: { kind: 'words', markdown: 'none' },
      parse: (text) => parseLocalZones(text, isolated),
    }),
    DNS_CA_FILE: optional({
      desc: 'File with the certificate authorities for `tls://`, in PEM.',
      example: '/config/resolver-ca.pem',
      unset: { kind: 'words', markdown: 'the public ones' },
      parse: (text) => parseSecretPath(text, 'DNS_CA_FILE'),
    }),
    PORT_FWD: optional({
      desc:
        'Ports of the tunnel that lead to containers: a list of `[OUTSIDE:]TARGET:INSIDE[/tcp|/udp]`. TARGET is a ' +
        "container's name or its address, of IPv6 in brackets. A port may be a range; without a protocol both are " +
        'forwarded. `#` begins a comment. With `MODE: sidecar` there is no TARGET.',
      example: 'web:4666, 8080:172.22.0.130:80/tcp, 172.22.0.131:5000-5010/udp',
      unset: { kind: 'words', markdown: 'nothing is forwarded' },
      parse: (text) => parsePortForwards(text, isolated, ipv6),
    }),
    PORT_FWD_HAIRPIN: required({
      desc: "Whether clients reach forwarded ports by the tunnel's own address as well: `on` or `off`.",
      example: 'on',
      unset: { kind: 'value', text: 'off' },
      parse: (text) => parseChoice({ name: 'PORT_FWD_HAIRPIN', text, choices: ['on', 'off'] }),
    }),
    PORT_FWD_DYNAMIC: optional({
      desc:
        'A port that the provider assigns: `natpmp:TARGET:INSIDE[/tcp|/udp]`, or `pcp:…`. With `inside=same` the ' +
        'container listens on the assigned number.',
      example: 'natpmp:qbittorrent:inside=same',
      unset: { kind: 'words', markdown: 'none is asked for' },
      parse: (text) => parseDynamicForward(text, isolated),
    }),
    PORT_FWD_FILE: optional({
      desc: 'File for the assigned port, in a folder that other containers share. It is there while the port is.',
      example: '/forward/port',
      unset: { kind: 'words', markdown: 'none' },
      parse: (text) => parseSecretPath(text, 'PORT_FWD_FILE'),
    }),
    PORT_FWD_HOOK: optional({
      desc:
        'Request (POST) to a container with the assigned port in place of `{port}`, whenever it is a new one. What ' +
        'stands behind `?` is sent as a form as well.',
      example: 'http://qbittorrent:8080/api/v2/app/setPreferences?json={"listen_port":{port}}',
      unset: { kind: 'words', markdown: 'none' },
      parse: (text) => parseForwardHook(text, isolated),
    }),
    LAN_ALLOW: optional({
      desc:
        'Part of the local network that clients reach **past the tunnel**, whether it is up or not: a list of ' +
        '`SUBNET:tcp/PORT` or `SUBNET:udp/PORT`. A port may be a range.',
      example: '192.168.1.0/24:tcp/8096, 192.168.1.5:udp/5000-5010',
      unset: { kind: 'words', markdown: 'nothing' },
      parse: (text) => parseLanAllow('LAN_ALLOW', text, isolated),
    }),
    LAN_ALLOW_IN: optional({
      desc:
        "The reverse: part of the local network that reaches a container's ports at the router's address on the uplink, " +
        'a list of `SUBNET:tcp/PORT:ADDRESS`.',
      example: '192.168.1.0/24:tcp/8080:172.22.0.128',
      unset: { kind: 'words', markdown: 'nothing' },
      parse: (text) => parseLanAllow('LAN_ALLOW_IN', text, isolated),
    }),
    IPV6: required({
      desc:
        "Clients' IPv6: `off` drops it, `tunnel` carries it where the VPN server gives an IPv6 address, and refuses it " +
        'where it does not.',
      example: 'tunnel',
      unset: { kind: 'value', text: 'off' },
      parse: (text) => parseChoice({ name: 'IPV6', text, choices: ['off', 'tunnel'] }),
    }),
    IP6_ADDR: optional({
      desc: "Gateway address of clients' IPv6, with the prefix length; `IPV6: tunnel` needs it.",
      example: 'fd00:7722::1/64',
      unset: { kind: 'words', markdown: 'none' },
      parse: parseIpv6Gateway,
    }),
    CONNECTION_LIMIT: required({
      desc: 'Connections that one client may have at a time; more are refused. `0`: as many as it likes.',
      example: '20000',
      unset: { kind: 'value', text: '4096' },
      parse: parseConnectionLimit,
    }),
    FIREWALL: required({
      desc: 'What loads the rules: `nft`, `iptables-nft`, `iptables-legacy`, or `auto`: nft where the kernel has it, else iptables-legacy.',
      example: 'iptables-legacy',
      unset: { kind: 'value', text: 'auto' },
      parse: (text) => parseChoice({ name: 'FIREWALL', text, choices: firewalls }),
    }),
    TZ: required({
      desc: 'Time zone of the log.',
      example: 'Europe/Warsaw',
      unset: { kind: 'value', text: 'UTC' },
      parse: parseTimeZone,
    }),
    OPENVPN_CREDENTIALS_FILE: optional({
      desc: 'File with two lines, user name and password. It may be missing unless it is named here.',
      example: '/run/secrets/provider',
      unset: { kind: 'words', markdown: `\`${defaultCredentialsPath}\`` },
      parse: (text) => parseSecretPath(text, 'OPENVPN_CREDENTIALS_FILE'),
    }),
    OPENVPN_USERNAME: optional({
      desc: 'User name for the VPN server, in place of the file with both.',
      example: 'alice',
      unset: { kind: 'words', markdown: 'from the file' },
      whitespace: 'verbatim',
      parse: (text) => parseSecret(text, 'OPENVPN_USERNAME'),
    }),
    OPENVPN_PASSWORD: optional({
      desc: 'Password for the VPN server. `docker inspect` shows it: a file is better.',
      example: 'correct horse battery staple',
      unset: { kind: 'words', markdown: 'from the file' },
      whitespace: 'verbatim',
      parse: (text) => parseSecret(text, 'OPENVPN_PASSWORD'),
    }),
    OPENVPN_USERNAME_FILE: optional({
      desc: 'File with the user name alone, in place of `OPENVPN_USERNAME`.',
      example: '/run/secrets/vpn_username',
      unset: { kind: 'words', markdown: 'none' },
      parse: (text) => parseSecretPath(text, 'OPENVPN_USERNAME_FILE'),
    }),
    OPENVPN_PASSWORD_FILE: optional({
      desc: 'File with the password alone, in place of `OPENVPN_PASSWORD`.',
      example: '/run/secrets/vpn_password',
      unset: { kind: 'words', markdown: 'none' },
      parse: (text) => parseSecretPath(text, 'OPENVPN_PASSWORD_FILE'),
    }),
    TOTP_SECRET: optional({
      desc:
        'Secret of the authenticator app, in base32 or as the `otpauth://` address of its QR code, for a server that asks for one-time codes. ' +
        '`docker inspect` shows it: a file is better.',
      example: 'JBSWY3DPEHPK3PXP',
      unset: { kind: 'words', markdown: 'none' },
      parse: (text) => parseTotp(text, 'TOTP_SECRET'),
    }),
    TOTP_SECRET_FILE: optional({
      desc: 'File with that secret alone, in place of `TOTP_SECRET`.',
      example: '/run/secrets/vpn_totp',
      unset: { kind: 'words', markdown: 'none' },
      parse: (text) => parseSecretPath(text, 'TOTP_SECRET_FILE'),
    }),
    UPLINK_GATEWAY: optional({
      desc: 'Next hop towards the VPN server.',
      example: '172.18.0.1',
      unset: { kind: 'words', markdown: 'found out' },
      parse: (text) => parseUplinkGateway(text, isolated),
    }),
    UPLINK_GATEWAY6: optional({
      desc: 'The same over IPv6.',
      example: 'fe80::1',
      unset: { kind: 'words', markdown: 'found out' },
      parse: parseUplinkGateway6,
    }),
    HEALTH_ADDR: required({
      desc: 'Address and port of the health endpoint.',
      example: '0.0.0.0:9797',
      unset: { kind: 'value', text: '127.0.0.1:9797' },
      parse: parseHealthAddress,
    }),
    CONTROL_TOKEN_FILE: optional({
      desc: 'File with a token, 16 characters or more, that lets its bearer reconnect, pause or reload by the health endpoint.',
      example: '/run/secrets/control_token',
      unset: { kind: 'words', markdown: 'no control' },
      parse: (text) => parseSecretPath(text, 'CONTROL_TOKEN_FILE'),
    }),
    HEALTH_PROBE: required({
      desc: 'What proves that the tunnel carries traffic: `dns` asks the resolver, `ADDRESS:PORT` connects over TCP.',
      example: '1.1.1.1:443',
      unset: { kind: 'value', text: 'dns' },
      parse: (text) => parseHealthProbe(text, isolated),
    }),
    MTU: optional({
      desc:
        'Largest packet in the tunnel, in bytes from 576 to 1500, where that is less than the server says; the way to ' +
        'the VPN server has to carry 80 bytes more.',
      example: '1300',
      unset: { kind: 'words', markdown: 'what the server says' },
      parse: (text) => parseMtu(text, ipv6 === undefined ? 'ipv4' : 'ipv6'),
    }),
    MSS: optional({
      desc: 'Largest TCP segment that clients may send, in bytes from 536 to 1460.',
      example: '1300',
      unset: { kind: 'words', markdown: 'follows the path MTU' },
      parse: parseMss,
    }),
    LOG_LEVEL: required({
      desc: 'Least important messages in the log: `debug`, `info`, `warn` or `error`.',
      example: 'debug',
      unset: { kind: 'value', text: 'info' },
      parse: (text) => parseChoice({ name: 'LOG_LEVEL', text, choices: logLevels }),
    }),
    LOG_FORMAT: required({
      desc: 'Form of the log: `text` for people, `json` for programs.',
      example: 'json',
      unset: { kind: 'value', text: 'text' },
      parse: (text) => parseChoice({ name: 'LOG_FORMAT', text, choices: logFormats }),
    }),
  } as const;
}

export type Settings = ReturnType<typeof settingsFor>;
export type SettingName = keyof Settings;
/** Settings as the user wrote them. */
export type GivenSettings = Readonly<Partial<Record<SettingName, string>>>;

/** A setting that has a value in every configuration: its default is filled in as text, before validation. */
function required<T>(declaration: Declaration<T>): RequiredValidatorSpec<T> & SettingDocs {
  const { parse, whitespace = 'trim', ...docs } = declaration;
  return { ...makeExactValidator(orThrow(parse))({}), ...docs, whitespace };
}

/** A setting that may have no value. */
function optional<T>(declaration: Declaration<T>): OptionalValidatorSpec<T> & SettingDocs {
  const { parse, whitespace = 'trim', ...docs } = declaration;
  return { ...makeExactValidator(orThrow(parse))({ default: undefined }), ...docs, whitespace };
}

function orThrow<T>(parse: (text: string) => Parsed<T>): (text: string) => T {
  return (text) => {
    const parsed = parse(text);
    if (parsed.kind === 'ok') return parsed.value;
    throw new SettingError(parsed.faults);
  };
}
