import assert from 'node:assert/strict';
import { test } from 'node:test';
import { knownOptions, ruleOf } from '../../../src/openvpn/option-rules.ts';
import { faultsOf, parseText, understood, withLines } from './corpus.ts';

const optionNames = (text: string, files = {}): readonly string[] =>
  understood(parseText(text, files)).options.map((option) => [option.name, ...option.parameters].join(' '));
const faults = (...lines: readonly string[]): readonly string[] => faultsOf(parseText(withLines(...lines)));

/** Every option whose body is rendered between tags. */
const blocks = knownOptions().filter((name) => {
  const rule = ruleOf(name);
  return rule?.kind === 'material' || (rule?.kind === 'pass' && rule.block === true);
});

test('refuses an inline block for an option that takes none', () => {
  assert.deepEqual(faults('<auth>', 'SHA1', '</auth>'), ['test.ovpn:7 | <auth> | takes no inline block']);
  assert.deepEqual(faults('<up>', '/bin/sh', '</up>'), ['test.ovpn:7 | <up> | would run a program']);
});

test('refuses a body that could break out of its tags, for every option that has one', () => {
  assert.ok(blocks.includes('peer-fingerprint') && blocks.includes('verify-hash') && blocks.length >= 11);
  for (const name of blocks) {
    // OpenVPN reads 255 bytes at a time: what follows the tag would be options.
    const breakout = [`${'#'.repeat(255)}</${name}>`, 'plugin /tmp/evil.so'];
    const inline = faults(`<${name}>`, 'K', ...breakout, `</${name}>`);
    assert.ok(
      inline.includes(
        `test.ovpn:9 | <${name}> | has a body that holds in this line </, which could end the block early`,
      ),
      inline.join(),
    );
    const block = ['<connection>', 'remote a', `<${name}>`, ...breakout, `</${name}>`, '</connection>'];
    assert.ok(faults(...block).some((fault) => fault.startsWith('test.ovpn:')));
    if (ruleOf(name)?.kind !== 'material' || name === 'pkcs12') continue;
    const file = faultsOf(parseText(withLines(`${name} f`), { f: `K\n </${name}>\nup /bin/sh\n` }));
    const problem = 'names a file that holds in line 2 </, which could end the block early';
    assert.ok(file.includes(`test.ovpn:7 | ${name} f | ${problem}`), file.join());
  }
});

test('refuses a body with a line that OpenVPN would read in two pieces', () => {
  for (const name of blocks) {
    const found = (line: string) =>
      faults('no-such-option', `<${name}>`, line, `</${name}>`).filter((fault) =>
        fault.includes('more than 254 bytes'),
      );
    // The hyphen is in no base64, which is wrapped.
    assert.deepEqual(found(`-${'A'.repeat(253)}`), []);
    assert.deepEqual(found(`-${'A'.repeat(251)}é`).length, 0);
    const fault = `test.ovpn:9 | <${name}> | has a body that holds in this line more than 254 bytes, which OpenVPN would cut`;
    assert.deepEqual(found(`-${'A'.repeat(254)}`), [fault]);
    assert.deepEqual(found(`-${'A'.repeat(252)}é`), [fault]);
  }
  const file = parseText(withLines('ca f'), { f: `K\n${'A'.repeat(255)}\n` });
  assert.deepEqual(faultsOf(file), [
    'test.ovpn:7 | ca f | names a file that holds in line 2 more than 254 bytes, which OpenVPN would cut',
  ]);
});

test('refuses a body of nothing', () => {
  for (const name of blocks) {
    assert.ok(faults(`<${name}>`, ' ', `</${name}>`).includes(`test.ovpn:7 | <${name}> | is empty`), name);
  }
});

test('wraps a PKCS#12 block that is one long line of base64', () => {
  const bytes = Buffer.alloc(3000, 0xa5);
  const text = `client\nremote a\n<pkcs12>\n${bytes.toString('base64')}\n</pkcs12>\n<ca>\nCA\n</ca>\n`;
  const inline = understood(parseText(text)).options.find(({ name }) => name === 'pkcs12')?.inline ?? '';
  assert.deepEqual(Buffer.from(inline, 'base64'), bytes);
  assert.ok(inline.split('\n').every((row) => row.length <= 76));
});

test('embeds files, whole and as text', () => {
  const text = 'client\nremote a\nca ca.crt\ncert c\nkey k\ntls-auth ta.key 1\ncrl-verify crl.pem\nextra-certs e\n';
  const files = { 'ca.crt': 'CA\r\nCA2', c: 'C\n', k: 'K\n\n', 'ta.key': 'T', 'crl.pem': 'R', e: 'E' };
  const { options } = understood(parseText(text, files));
  assert.deepEqual(options, [
    { name: 'client', parameters: [], line: 1 },
    { name: 'ca', parameters: [], line: 3, inline: 'CA\nCA2\n' },
    { name: 'cert', parameters: [], line: 4, inline: 'C\n' },
    { name: 'key', parameters: [], line: 5, inline: 'K\n' },
    { name: 'tls-auth', parameters: [], line: 6, inline: 'T\n' },
    { name: 'key-direction', parameters: ['1'], line: 6 },
    { name: 'crl-verify', parameters: [], line: 7, inline: 'R\n' },
    { name: 'extra-certs', parameters: [], line: 8, inline: 'E\n' },
  ]);
});

test('embeds a PKCS#12 file as base64 in short rows', () => {
  const bytes = Buffer.alloc(100, 0xfe);
  const { options } = understood(parseText('client\nremote a\npkcs12 id.p12\n', { 'id.p12': bytes }));
  const inline = options.find(({ name }) => name === 'pkcs12')?.inline ?? '';
  assert.deepEqual(Buffer.from(inline, 'base64'), bytes);
  assert.ok(inline.split('\n').every((row) => row.length <= 76));
});

test('takes the direction of a key that is announced inline', () => {
  const text = withLines('tls-auth [inline] 1', '<tls-auth>', 'T', '</tls-auth>');
  assert.deepEqual(optionNames(text).slice(2), ['key-direction 1', 'tls-auth']);
});

test('reports files that are missing, foreign, unreadable, binary or empty', () => {
  const files = {
    b: { kind: 'outside' },
    c: { kind: 'unreadable', reason: 'permission denied' },
    d: Buffer.from([0x30, 0x82, 0x00]),
    e: ' \n',
  } as const;
  const text = withLines('ca a', 'extra-certs b', 'tls-crypt c', 'crl-verify d', 'extra-certs e', 'askpass a');
  assert.deepEqual(faultsOf(parseText(text, files)), [
    'test.ovpn:7 | ca a | names a file that does not exist',
    'test.ovpn:8 | extra-certs b | names a file outside of the folder of the profile',
    'test.ovpn:9 | tls-crypt c | names a file that cannot be read: permission denied',
    'test.ovpn:10 | crl-verify d | names a file that is not text',
    'test.ovpn:11 | extra-certs e | is empty',
    'test.ovpn:12 | askpass a | names a file that does not exist',
  ]);
});
