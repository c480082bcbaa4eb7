import fc from 'fast-check';
import { knownOptions, ruleOf } from '../../../src/openvpn/option-rules.ts';
import { malice } from '../../unit/openvpn/malice.ts';

/** Texts of profiles that were doctored: lines of the corpus, hostile values for every option, and bent characters. */
export function hostileTexts({
  working,
  trap,
}: {
  readonly working: readonly string[];
  readonly trap: string;
}): fc.Arbitrary<string> {
  const names = knownOptions();
  const reaching = names.filter((name) => ruleOf(name)?.kind !== 'refuse' && ruleOf(name)?.kind !== 'drop');
  const bodies = names.filter((name) => {
    const rule = ruleOf(name);
    return rule?.kind === 'material' || (rule?.kind === 'pass' && rule.block === true);
  });
  const program = `${trap}/run`;
  const padding = fc.integer({ min: 230, max: 256 }).map((length) => '#'.repeat(length));
  const word = fc.oneof(
    fc.constantFrom(program, `${trap}/evil.so`, `${trap}/secret`, 'none', '0', '1', '-1', '2147483648', '1500', 'yes'),
    fc.constantFrom(
      '[inline]',
      'stdin',
      'file',
      'env',
      'ext:x',
      'engine:x',
      'pkcs11:x',
      `file:${trap}/secret`,
      '..',
      '',
    ),
    fc.constantFrom('AES-256-GCM', 'AES-128-CBC', 'SHA256', 'TLSv1.2', '1.2', '3600', 'server', 'net30', 'TCP_NODELAY'),
    fc.string({ unit: fc.constantFrom(...'ab/.:<>-"\'\\ #;$`|&(){}*~é'), maxLength: 12 }),
    padding,
  );
  const quoted = fc
    .tuple(word, fc.constantFrom('', '', "'", '"'))
    .map(([text, quote]) => (quote === '"' ? `"${text.replaceAll(/["\\]/g, '\\$&')}"` : `${quote}${text}${quote}`));
  const option = fc
    .tuple(fc.constantFrom('', '', '--', ' ', '\t'), fc.constantFrom(...reaching), fc.array(quoted, { maxLength: 3 }))
    .map(([before, name, words]) => [`${before}${[name, ...words].join(' ')}`]);
  const block = fc
    .tuple(
      fc.constantFrom(...bodies, 'connection', 'auth-user-pass'),
      fc.array(
        fc.oneof(word, fc.constantFrom(`up ${program}`, '<ca>', '<', '>', '# x', '-----BEGIN CERTIFICATE-----')),
        {
          minLength: 1,
          maxLength: 4,
        },
      ),
      fc.constantFrom('', '', '', ' ', '#', '\r'),
    )
    .map(([name, rows, end]) => [`<${name}>`, ...rows, `</${name}>${end}`]);
  // OpenVPN reads a body in pieces of 255 bytes, and takes what follows the end tag for options.
  const breakout = fc
    .tuple(
      fc.constantFrom(...bodies),
      fc.oneof(fc.constantFrom('', ' ', '\t', '\v', '\r', 'x', 'é'.repeat(127)), padding),
      fc.constantFrom('', ' ', 'x', '\r'),
      fc.constantFrom(`plugin ${trap}/evil.so`, `up ${program}`, `log-append ${trap}/written`, `cd ${trap}`),
    )
    .map(([name, before, after, line]) => [`<${name}>`, 'x', `${before}</${name}>${after}`, line, `</${name}>`]);
  const environment = fc
    .tuple(word, word)
    .map(([name, value]) => [`setenv "UV_${name.replaceAll(/["\\]/g, '')}" ${value}`]);
  const piece = fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(...malice(trap).map(({ lines }) => lines)) },
    { weight: 5, arbitrary: option },
    { weight: 2, arbitrary: block },
    { weight: 2, arbitrary: breakout },
    { weight: 1, arbitrary: environment },
  );
  const bend = fc.record({
    at: fc.nat(),
    with: fc.constantFrom(
      '\n',
      '\r',
      '\r\n',
      ' ',
      '\t',
      '"',
      "'",
      '\\',
      '#',
      '<',
      '</',
      '\v',
      '\ufeff',
      `\nup ${program}\n`,
    ),
    remove: fc.boolean(),
  });
  return fc
    .tuple(fc.array(piece, { minLength: 1, maxLength: 3 }), fc.array(bend, { maxLength: 2 }), fc.boolean())
    .map(([pieces, bends, last]) => {
      const added = pieces.flat().join('\n');
      const bent = bends.reduce((text, { at, with: insert, remove }) => {
        const place = text.length === 0 ? 0 : at % text.length;
        return text.slice(0, place) + insert + text.slice(place + (remove ? 1 : 0));
      }, added);
      return `${(last ? [...working, bent] : [working[0], bent, ...working.slice(1)]).join('\n')}\n`;
    });
}
