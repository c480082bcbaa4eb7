import { assertNever } from '../errors.ts';
import { embedMaterial, readCredentials, readPassphrase } from './material.ts';
import { lexOptions, type OptionLine } from './option-lexer.ts';
import type { OptionRule } from './option-rule.ts';
import { knownOptions, ruleOf } from './option-rules.ts';
import { type BlockDraft, type Draft, ignore, isControlKey, pass, report } from './profile-draft.ts';
import { finishProxy, readProxyOption } from './profile-proxies.ts';
import { mostRemotes, readRemoteOption } from './profile-remotes.ts';
import { gluedInto, joinedNames } from './run-together.ts';

/** Reads one option into the draft; `block` is the `<connection>` that it stands in. */
export function readOption(draft: Draft, option: OptionLine, block?: BlockDraft): void {
  const rule = ruleOf(option.name);
  if (rule === undefined) {
    readUnknown(draft, option);
    return;
  }
  draft.seen.add(option.name);
  const glued = gluedInto(option);
  if (glued !== undefined) {
    report(draft, option, `has the option ${glued} run into it`, `put ${glued} on a line of its own`);
    return;
  }
  switch (rule.kind) {
    case 'drop':
      ignore(draft, option, rule.reason);
      return;
    case 'refuse':
      report(draft, option, rule.problem, rule.hint);
      return;
    case 'pass':
    case 'material':
    case 'read':
      if (block !== undefined && rule.scope === 'profile') {
        report(draft, option, 'cannot stand in a <connection> block', 'move the line out of the block');
      } else if (fits(draft, option, rule)) {
        admit(draft, option, { rule, ...(block === undefined ? {} : { block }) });
      }
      return;
    default:
      assertNever(rule);
  }
}

function admit(draft: Draft, option: OptionLine, place: { rule: OptionRule; block?: BlockDraft }): void {
  const { rule, block } = place;
  if (CIPHERS.includes(option.name) && option.parameters.some(hasNoCipher)) {
    report(draft, option, 'would let packets travel without encryption', 'name ciphers such as AES-256-GCM');
  } else if (option.name === 'auth' && isNone(option.parameters[0])) {
    ignore(draft, option, 'packets must not be forged; ciphers such as AES-256-GCM do not need it');
  } else if (rule.kind === 'material') {
    embedMaterial({ draft, option, rule, ...(block === undefined ? {} : { block }) });
  } else if (rule.kind === 'read') {
    if (isProxyOption(option.name)) readProxyOption(draft, option, block);
    else if (rule.scope === 'remote') readRemoteOption(draft, option, block);
    else readHere(draft, option);
  } else if (option.name === 'compress' && option.parameters[0] === 'migrate') {
    ignore(draft, option, 'it has no effect on a client of OpenVPN 2.6 or 2.7');
  } else {
    pass({ draft, option, source: option, block });
  }
}

function isProxyOption(name: string): boolean {
  return name.startsWith('http-proxy') || name.startsWith('socks-proxy');
}

const CIPHERS = ['cipher', 'data-ciphers', 'data-ciphers-fallback', 'ncp-ciphers'];

/** Whether one of the ciphers of a list is none: OpenVPN then agrees to a tunnel in clear text. */
function hasNoCipher(list: string): boolean {
  return list.split(':').some((name) => isNone(name.replace(/^\?/, '')));
}

/** `[null-cipher]` is OpenVPN's own name for none. */
function isNone(name: string | undefined): boolean {
  return name?.toLowerCase() === 'none' || name?.toLowerCase() === '[null-cipher]';
}

/** Options that the router itself understands. */
function readHere(draft: Draft, option: OptionLine): void {
  const [first = ''] = option.parameters;
  switch (option.name) {
    case 'connection':
      readConnection(draft, option);
      return;
    case 'proto-force':
      readRemoteOption(draft, option);
      return;
    case 'remote-random':
      draft.remoteOrder = 'random';
      return;
    case 'auth-user-pass':
      readCredentials(draft, option);
      return;
    case 'askpass':
      readPassphrase(draft, option);
      return;
    case 'ignore-unknown-option':
      for (const name of option.parameters) draft.skippable.add(name.replace(/^--/, ''));
      return;
    case 'setenv':
      readEnvironment(draft, option);
      return;
    case 'ncp-ciphers':
      // Both versions know the old name and warn of it.
      pass({ draft, option: { ...option, name: 'data-ciphers' }, source: option });
      return;
    case 'pull-filter':
      readFilter(draft, option);
      return;
    case 'dev':
    case 'dev-type':
      if (first.startsWith('tap')) {
        report(draft, option, 'asks for Ethernet frames, which cannot be routed', 'ask for a profile with `dev tun`');
      } else if (first === 'null') {
        report(draft, option, 'asks for no tunnel device', 'ask for a profile with `dev tun`');
      } else {
        ignore(draft, option, 'the router makes the tunnel device itself');
      }
      return;
    case 'dev-node':
      // OpenVPN 2.7 starts the program behind `unix:`.
      if (first.startsWith('unix:')) report(draft, option, 'would run a program', 'remove the line');
      else ignore(draft, option, 'the router makes the tunnel device itself');
      return;
    case 'mode':
      if (first === 'p2p') ignore(draft, option, 'a client is that anyway');
      else report(draft, option, 'makes OpenVPN a server', 'use the profile that is made for a client');
      return;
    case 'dns-updown':
      if (first === 'disable' || first === 'force') ignore(draft, option, 'the router decides about DNS, see DNS');
      else report(draft, option, 'would run a program', 'remove the line: the router decides about DNS');
      return;
    default:
      throw new TypeError(`no reader for ${option.name}`);
  }
}

/** Reads a `<connection>` block. It knows of the profile's options that stand before it, and only of those. */
function readConnection(draft: Draft, option: OptionLine): void {
  const { remotes } = draft;
  // There is one too many already, which is reported at the end.
  if (remotes.blocks.length > mostRemotes) return;
  const lexed = lexOptions({ file: draft.file, text: option.inline ?? '', firstLine: option.line + 1 });
  draft.faults.push(...lexed.faults);
  const proxy = { ...remotes.proxy, rows: [...remotes.proxy.rows] };
  const block: BlockDraft = { defaults: remotes.defaults, options: [], proxy };
  const faultsBefore = draft.faults.length;
  for (const line of lexed.lines) readOption(draft, line, block);
  if (block.remote === undefined) {
    if (draft.faults.length === faultsBefore) report(draft, option, 'has no remote', 'name a remote in the block');
    return;
  }
  remotes.inheritedByBlocks = remotes.inherited.length;
  // Without a key of its own a block has the profile's key and direction (options_postprocess_mutate_ce).
  const ownKey = block.options.some((own) => isControlKey(own.name) && own.inline !== undefined);
  const finished = finishProxy(block.proxy);
  remotes.blocks.push({
    ...(finished === undefined ? {} : { proxy: finished }),
    host: block.remote.host,
    port: block.defaults.port,
    ...block.defaults.protocol,
    line: block.remote.option.line,
    options: [...remotes.inherited, ...block.options.filter((own) => ownKey || !isControlKey(own.name))],
  });
}

function readEnvironment(draft: Draft, option: OptionLine): void {
  const [variable = '', value, ...rest] = option.parameters;
  if (variable === 'opt' && value !== undefined) {
    // `setenv opt` says: this option if you know it, nothing if you do not.
    const inner = { name: value, parameters: rest, line: option.line };
    if (ruleOf(value) === undefined) ignore(draft, option, 'OpenVPN does not know it, and `setenv opt` allows that');
    else readOption(draft, inner);
  } else if (rest.length > 0) {
    report(draft, option, 'has too many parameters', 'quote a value that holds blanks');
  } else if (variable === 'GENERIC_CONFIG') {
    report(draft, option, 'says that this profile cannot be used as it is', 'download the profile of one server');
  } else if (variable === 'PUSH_PEER_INFO') {
    pass({ draft, option: { name: 'push-peer-info', parameters: [], line: option.line }, source: option });
  } else if (variable.startsWith('UV_')) {
    // Sent to the server together with push-peer-info; every other variable is for scripts.
    pass({ draft, option, source: option });
  } else {
    if (variable === 'FORWARD_COMPATIBLE' && value === '1') draft.skipUnknown = true;
    ignore(draft, option, 'no script runs here');
  }
}

function readFilter(draft: Draft, option: OptionLine): void {
  const [action = ''] = option.parameters;
  if (action === 'accept') {
    draft.filtersPass = false;
    ignore(draft, option, 'the router has a list of its own of what a server may push');
  } else if (action !== 'ignore' && action !== 'reject') {
    report(draft, option, 'has an unknown action', 'write ignore or reject');
  } else if (draft.filtersPass) {
    pass({ draft, option, source: option });
  } else {
    // The first filter that matches wins, so without the `accept` before it this one would take too much away.
    ignore(draft, option, 'it follows a pull-filter accept, which the router does not take over');
  }
}

function readUnknown(draft: Draft, option: OptionLine): void {
  if (draft.skipUnknown || draft.skippable.has(option.name)) {
    ignore(draft, option, 'OpenVPN does not know it, and the profile allows that');
    return;
  }
  const name = `${draft.file}:${option.line}`;
  if (!draft.showUnknown || !/^[a-z]+(?:-[a-z0-9]+)*$/i.test(option.name) || option.name.length > 40) {
    // A key without its tags is a hundred such lines, and none of them may be shown.
    const { lastStrayLine } = draft;
    draft.lastStrayLine = option.line;
    if (lastStrayLine === option.line - 1) return;
    const hint = 'put keys and certificates between tags such as <ca> and </ca>, and remove what is neither';
    draft.faults.push({ name, problem: 'is no option of OpenVPN', hint });
    return;
  }
  const joined = joinedNames(option.name);
  const lower = option.name.toLowerCase();
  let hint = `remove the line, or put \`ignore-unknown-option ${option.name}\` before it`;
  if (joined !== undefined) hint = `put ${joined[0]} and ${joined[1]} on a line each`;
  else if (ruleOf(lower) !== undefined) hint = `write ${lower}`;
  draft.faults.push({ name, value: option.name, problem: 'is no option of OpenVPN 2.6 or 2.7', hint });
}

/** Whether an option has the shape that OpenVPN asks for; reports it otherwise. */
function fits(draft: Draft, option: OptionLine, rule: Exclude<OptionRule, { kind: 'drop' | 'refuse' }>): boolean {
  const { parameters } = option;
  if (option.inline !== undefined) {
    const takesBlock =
      rule.kind === 'material' ||
      (rule.kind === 'pass' && rule.block === true) ||
      ['connection', 'auth-user-pass', 'http-proxy-user-pass'].includes(option.name);
    if (!takesBlock) report(draft, option, 'takes no inline block', `write ${option.name} on one line`);
    return takesBlock;
  }
  const [least, most] = rule.kind === 'material' ? [1, MATERIAL_WORDS[option.name] ?? 1] : [rule.least, rule.most];
  if (option.name === 'connection' || parameters.length < least) {
    report(draft, option, 'has too few parameters', `see ${option.name} in the manual of OpenVPN`);
    return false;
  }
  if (parameters.length > most) {
    const next = knownOptions().find((known) => known.length > 3 && parameters[most - 1]?.endsWith(known) === true);
    const hint = next === undefined ? 'quote a value that holds blanks' : `put ${next} on a line of its own`;
    report(draft, option, 'has too many parameters', hint);
    return false;
  }
  if (parameters.some((word) => /[\u0000-\u001f\u007f]/.test(word))) {
    report(draft, { ...option, parameters: [] }, 'holds a control character', 'retype the line');
    return false;
  }
  const values = rule.kind === 'pass' ? rule.values : undefined;
  const [first] = parameters;
  if (values !== undefined && first !== undefined && !values.includes(first)) {
    report(draft, option, 'has a value that OpenVPN does not know', `write one of: ${values.join(', ')}`);
    return false;
  }
  return true;
}

/** Words after the name, where it is more than the file. */
const MATERIAL_WORDS: Readonly<Record<string, number>> = {
  'tls-auth': 2,
  'tls-crypt': 2,
  'tls-crypt-v2': 2,
  'crl-verify': 2,
};
