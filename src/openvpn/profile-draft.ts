import { assertNever, type Fault } from '../errors.ts';
import type { Port } from '../net/address.ts';
import { type BodyFlaw, findBodyFlaw, MAX_BODY_LINE_BYTES } from './option-body.ts';
import type { OptionLine } from './option-lexer.ts';
import { MAX_ROW_BYTES, renderOptionRow } from './option-row.ts';
import { hidesParameters, ruleOf } from './option-rules.ts';
import type { FileRead, IgnoredOption, Profile, ProfileOption, ProfileProxy, ProfileRemote } from './profile-model.ts';

/** A profile while it is read. It never leaves `parseProfile`. */
export interface Draft {
  readonly file: string;
  readonly readFile: (path: string) => FileRead;
  /** False where an opening tag is lost: what looks like an unknown option may be a line of a key. */
  readonly showUnknown: boolean;
  readonly faults: Fault[];
  readonly ignored: IgnoredOption[];
  readonly options: ProfileOption[];
  /** Every known option that the profile has, whether it could be used or not. */
  readonly seen: Set<string>;
  /** What `ignore-unknown-option` named so far. */
  readonly skippable: Set<string>;
  /** `setenv FORWARD_COMPATIBLE 1` was there. */
  skipUnknown: boolean;
  /** No `pull-filter accept` was there so far. */
  filtersPass: boolean;
  remoteOrder: Profile['remoteOrder'];
  readonly remotes: RemotesDraft;
  credentials?: NonNullable<Profile['credentials']>;
  totp?: NonNullable<Profile['totp']>;
  keyPassphrase?: string;
  /** The last line that was no option at all, to report a run of such lines once. */
  lastStrayLine?: number;
}

/** What `udp`, `tcp6-client` and their like say. */
export type Protocol = Pick<ProfileRemote, 'transport' | 'family'>;

/** What a remote has that does not say more. */
interface RemoteDefaults {
  readonly port: Port;
  readonly protocol: Protocol;
}

/** A `remote` line. */
interface ListedRemote {
  readonly option: OptionLine;
  readonly host: string;
  readonly port?: Port;
  readonly protocol?: Protocol;
}

/** A proxy while its lines are read, in any order. */
export interface ProxyDraft {
  found?: Omit<ProfileProxy, 'rows' | 'credentials'> & { readonly line: number };
  credentials?: NonNullable<ProfileProxy['credentials']>;
  readonly rows: ProfileOption[];
}

/** A `<connection>` block while it is read. */
export interface BlockDraft {
  defaults: RemoteDefaults;
  readonly proxy: ProxyDraft;
  remote?: ListedRemote;
  readonly options: ProfileOption[];
}

/** The remotes while the profile is read. */
export interface RemotesDraft {
  defaults: RemoteDefaults;
  readonly proxy: ProxyDraft;
  /** Options of the profile that hold for each remote. */
  readonly inherited: ProfileOption[];
  readonly listed: ListedRemote[];
  readonly blocks: ProfileRemote[];
  /** How many of `inherited` the last block knew of. */
  inheritedByBlocks?: number;
  forced?: ProfileRemote['transport'];
}

/** Records a fault of an option, its secrets left out. */
export function report(draft: Draft, option: OptionLine, problem: string, hint: string): void {
  draft.faults.push({ name: `${draft.file}:${option.line}`, value: describe(option), problem, hint });
}

/** Records that an option does not reach OpenVPN. */
export function ignore(draft: Draft, option: OptionLine, reason: string): void {
  draft.ignored.push({ line: option.line, option: option.name, reason });
}

/**
 * Adds an option to the profile, or to the block that it stands in; reports it where OpenVPN could read its row or its
 * body as something else. Whatever is rendered of a profile's own text comes through here.
 */
export function pass(input: {
  draft: Draft;
  option: ProfileOption;
  /** The line as the profile has it, where `option` is made from it. */
  source: OptionLine;
  block?: BlockDraft | undefined;
}): void {
  const { draft, option, source, block } = input;
  if (Buffer.byteLength(renderOptionRow(option)) > MAX_ROW_BYTES) {
    report(draft, source, `is longer than the ${MAX_ROW_BYTES} bytes that OpenVPN reads`, 'shorten the line');
    return;
  }
  const flaw = option.inline === undefined ? undefined : findBodyFlaw(option.inline);
  if (flaw !== undefined) {
    reportBody(draft, source, flaw);
    return;
  }
  if (block !== undefined) block.options.push(option);
  // Outside of a block OpenVPN keeps these apart from the connection: they hold for every remote, whatever the order.
  else if (isControlKey(option.name) || !isRemoteOption(option.name)) draft.options.push(option);
  else draft.remotes.inherited.push(option);
}

/** True for the keys of the control channel, of which a `<connection>` block may bring its own set. */
export function isControlKey(name: string): boolean {
  return ['tls-auth', 'tls-crypt', 'tls-crypt-v2', 'key-direction'].includes(name);
}

function isRemoteOption(name: string): boolean {
  const rule = ruleOf(name);
  return rule !== undefined && 'scope' in rule && rule.scope === 'remote';
}

/** Reports a body at its own line of the profile, or, where it comes from a file, at the line that names the file. */
function reportBody(draft: Draft, source: OptionLine, flaw: BodyFlaw): void {
  const hint = 'download the profile again';
  if (flaw.kind === 'empty') report(draft, source, 'is empty', hint);
  else if (source.inline !== undefined) {
    report(
      draft,
      { ...source, line: source.line + flaw.line },
      `has a body that holds in this line ${describeFlaw(flaw)}`,
      hint,
    );
  } else report(draft, source, `names a file that holds in line ${flaw.line} ${describeFlaw(flaw)}`, hint);
}

function describeFlaw({ kind }: BodyFlaw): string {
  switch (kind) {
    case 'empty':
      return 'nothing';
    case 'tag':
      return '</, which could end the block early';
    case 'long':
      return `more than ${MAX_BODY_LINE_BYTES} bytes, which OpenVPN would cut`;
    case 'nul':
      return 'a NUL character';
    case 'unended':
      return 'no line end';
    default:
      return assertNever(kind);
  }
}

function describe(option: OptionLine): string {
  if (option.inline !== undefined) return `<${option.name}>`;
  const parameters = hidesParameters(option.name) ? [] : option.parameters;
  const row = renderOptionRow({ name: option.name, parameters }).replaceAll(/[\u0000-\u001f\u007f]/g, '?');
  return row.length <= 120 ? row : `${row.slice(0, 119)}…`;
}
