// Needs root, /dev/net/tun, iproute2, libsofthsm2, microsocks, oathtool, openssl, openvpn and tinyproxy: real servers, real
// proxies and real clients in a network namespace of their own.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseTotpSecret, renderTotp } from '../../src/node-openvpn-mgmt/src/index.ts';
import { findWrongPassphrase } from './lab/passphrase.ts';
import {
  type OpenVpnLab,
  password,
  type Server,
  type StartedClient,
  startOpenVpnLab,
  totpSecret,
  waitForOutput,
} from './openvpn-management-lab.ts';

const proxyPort = 8888;
const asking: Server = { proto: 'udp4', port: 1196 };

let lab: OpenVpnLab;

before(async () => {
  lab = await startOpenVpnLab();
});

after(() => lab.dispose());

test('answers a login', async (t) => {
  const { waitFor } = await startLogin(t, lab.udp);
  await waitFor('state', ({ name }) => name === 'CONNECTED');
});

test('answers a static challenge', async (t) => {
  const { client, waitFor } = await startReleased(t, '--static-challenge', "say 'yes', or 'no'", '1');
  const need = await waitFor('password-need');
  assert.deepEqual(need.staticChallenge, { text: "say 'yes', or 'no'", echo: true, format: 'scrv1' });
  await client.answer(need, { username: 'scrv1', password: 'bar', response: '8675309' });
  await waitFor('state', ({ name }) => name === 'CONNECTED');
});

test('answers a dynamic challenge of a script', async (t) => {
  const { client, waitFor } = await startReleased(t);
  await client.answer(await waitFor('password-need'), { username: 'crv1', password: 'first' });
  const challenge = { flags: ['R', 'E'], stateId: 'state-1', username: 'crv1', text: 'PIN: now' };
  assert.deepEqual((await waitFor('verification-failed')).crv1, challenge);
  await waitFor('hold', undefined, 2);
  await client.holdRelease();
  const need = await waitFor('password-need', undefined, 2);
  assert.deepEqual(need.dynamicChallenge, challenge);
  await client.answer(need, { response: '8675309' });
  await waitFor('state', ({ name }) => name === 'CONNECTED');
});

test('answers a dynamic challenge of client-deny with a one-time password', async (t) => {
  const server = await lab.startAskingServer(t, asking);
  await server.client.holdRelease();
  const { client, waitFor } = await startReleasedOf(t, asking);

  await client.answer(await waitFor('password-need'), { username: 'alice', password: 'first' });
  const first = await waitForConnect(server, 1);
  assert.equal(first.env.get('password'), 'first');
  const question = `CRV1:R:state-2:${Buffer.from('alice').toString('base64')}:Code of 'the app', please: now`;
  await server.client.send({ name: 'client-deny', parameters: [...first.ids, 'no', question], reply: 'single' });

  await waitFor('verification-failed');
  await waitFor('hold', undefined, 2);
  await client.holdRelease();
  const need = await waitFor('password-need', undefined, 2);
  assert.equal(need.dynamicChallenge?.text, "Code of 'the app', please: now");
  const response = renderTotp({ secret: parseTotpSecret(totpSecret), timeMs: Date.now() });
  await client.answer(need, { username: 'alice', password: 'first', response });

  const second = await waitForConnect(server, 2);
  assert.equal(second.env.get('username'), 'alice');
  const [, stateId, code] = second.env.get('password')?.split('::') ?? [];
  assert.equal(stateId, 'state-2');
  // The codes of now and of the step before: the step may have changed since the client answered.
  assert.ok([oathtool('now'), oathtool('30 seconds ago')].includes(code ?? ''), `${code} is wrong`);
  await server.client.send({ name: 'client-auth-nt', parameters: second.ids, reply: 'single' });
  await waitFor('state', ({ name }) => name === 'CONNECTED');
});

test('answers a question that the server asks while the login waits', async (t) => {
  const server = await lab.startAskingServer(t, asking);
  await server.client.holdRelease();
  const { client, waitFor } = await startReleasedOf(t, asking);
  await client.answer(await waitFor('password-need'), { username: 'alice', password: 'first' });
  const { ids } = await waitForConnect(server, 1);
  const parameters = [...ids, 'CR_TEXT:R,E:Which, please?', '30'];
  await server.client.send({ name: 'client-pending-auth', parameters, reply: 'single' });

  assert.equal((await waitFor('infomsg')).text, 'CR_TEXT:R,E:Which, please?');
  assert.equal((await waitFor('state', ({ name }) => name === 'AUTH_PENDING')).detail, 'timeout 30');
  await client.crResponse('this one');
  const { line } = await server.waitFor('unknown', (event) => event.line.startsWith('>CLIENT:CR_RESPONSE,'));
  assert.equal(line.split(',').at(-1), Buffer.from('this one').toString('base64'));
  await server.client.send({ name: 'client-auth-nt', parameters: ids, reply: 'single' });
  await waitFor('state', ({ name }) => name === 'CONNECTED');
});

test('answers the passphrase of an encrypted private key', async (t) => {
  const { client, waitFor } = await startLogin(t, lab.udp, ...certified(), '--key', encryptedKey());
  const need = await waitFor('password-need', undefined, 2);
  assert.deepEqual(need, { kind: 'password-need', realm: 'Private Key', wants: 'password' });
  await client.answer(need, { password });
  await waitFor('state', ({ name }) => name === 'CONNECTED');
});

test('is told that the passphrase of the private key was wrong', async (t) => {
  const key = encryptedKey();
  const wrong = findWrongPassphrase(readFileSync(key, 'utf8'), 'ERR_OSSL_BAD_DECRYPT');
  const { client, waitFor } = await startLogin(t, lab.udp, ...certified(), '--key', key);
  await client.answer(await waitFor('password-need', undefined, 2), { password: wrong });
  assert.deepEqual(await waitFor('verification-failed'), { kind: 'verification-failed', realm: 'Private Key' });
});

test('hears only that OpenVPN starts over of a wrong passphrase that makes nonsense of the private key', async (t) => {
  const key = encryptedKey();
  const wrong = findWrongPassphrase(readFileSync(key, 'utf8'), 'ERR_OSSL_UNSUPPORTED');
  const { client, waitFor, events } = await startLogin(t, lab.udp, ...certified(), '--key', key);
  await client.logOn();
  await client.answer(await waitFor('password-need', undefined, 2), { password: wrong });
  await waitFor('log', ({ message }) => /DECODER routines:.*:unsupported:/.test(message));
  await waitFor('state', ({ detail }) => detail === 'private-key-password-failure');
  assert.ok(events.every(({ kind }) => kind !== 'verification-failed'));
});

test('answers the login of an HTTP proxy', async (t) => {
  await startProxy(t);
  const { client, waitFor } = await startLogin(t, lab.tcp, '--http-proxy', '127.0.0.1', `${proxyPort}`, 'auto');
  const need = await waitFor('password-need', undefined, 2);
  assert.deepEqual(need, { kind: 'password-need', realm: 'HTTP Proxy', wants: 'username/password' });
  await client.answer(need, { username: 'proxyuser', password: 'proxypassword' });
  const { remotePort } = await waitFor('state', ({ name }) => name === 'CONNECTED');
  assert.equal(remotePort, proxyPort);
});

test('is told by a state that the login of an HTTP proxy was wrong', async (t) => {
  await startProxy(t);
  const { client, waitFor } = await startLogin(t, lab.tcp, '--http-proxy', '127.0.0.1', `${proxyPort}`, 'auto');
  await client.answer(await waitFor('password-need', undefined, 2), { username: 'proxyuser', password: 'wrong' });
  const { detail } = await waitFor('state', ({ name }) => name === 'RECONNECTING');
  assert.equal(detail, 'HTTP proxy error');
  await waitFor('hold', undefined, 2);
});

test('answers the login of a SOCKS proxy', async (t) => {
  lab.startProgram(t, 'microsocks', '-i', '127.0.0.1', '-p', `${proxyPort}`, '-u', 'proxyuser', '-P', 'proxypassword');
  // It says nothing when it listens.
  while (!listeners().includes(`:${proxyPort} `)) await sleep(10);
  const { client, waitFor } = await startLogin(t, lab.tcp, '--socks-proxy', '127.0.0.1', `${proxyPort}`, 'stdin');
  const need = await waitFor('password-need', undefined, 2);
  assert.deepEqual(need, { kind: 'password-need', realm: 'SOCKS Proxy', wants: 'username/password' });
  await client.answer(need, { username: 'proxyuser', password: 'proxypassword' });
  const { remotePort } = await waitFor('state', ({ name }) => name === 'CONNECTED');
  assert.equal(remotePort, proxyPort);
});

test('chooses no proxy, and an HTTP proxy', async (t) => {
  await startProxy(t);
  const direct = await startLogin(t, lab.udp, '--management-query-proxy');
  assert.deepEqual(await direct.waitFor('proxy'), { kind: 'proxy', index: 1, protocol: 'UDP', host: '127.0.0.1' });
  await direct.client.useProxy('none');
  await direct.waitFor('state', ({ name }) => name === 'CONNECTED');
  await direct.client.exit();
  await direct.child.exited;

  const { client, waitFor } = await startLogin(t, lab.tcp, '--management-query-proxy');
  assert.equal((await waitFor('proxy')).protocol, 'TCP');
  await client.useProxy({ kind: 'http', host: '127.0.0.1', port: proxyPort });
  const need = await waitFor('password-need', undefined, 2);
  await client.answer(need, { username: 'proxyuser', password: 'proxypassword' });
  await waitFor('state', ({ name }) => name === 'CONNECTED');
});

test('signs with a key, and gives the certificate, that OpenVPN never sees', async (t) => {
  const external = ['--management-external-key', '--management-external-cert', 'mine'];
  const { client, waitFor } = await lab.startClient(t, ...external);
  await client.announceVersion(3);
  await Promise.all([client.stateOn(), client.holdRelease()]);
  await client.answer(await waitFor('password-need'), { username: 'alice', password });
  assert.deepEqual(await waitFor('need-certificate'), { kind: 'need-certificate', hint: 'mine' });
  await client.sendCertificate(readFileSync(join(lab.dir, 'server.crt'), 'utf8'));
  const { data, algorithm } = await waitFor('pk-sign');
  assert.equal(algorithm, 'ECDSA');
  await client.sendSignature(signDigest(Buffer.from(data, 'base64')));
  await waitFor('state', ({ name }) => name === 'CONNECTED');
});

test('signs for an OpenVPN that was not told what the client understands', async (t) => {
  const { client, waitFor } = await startLogin(t, lab.udp, ...certified(), '--management-external-key');
  const { data } = await waitFor('rsa-sign');
  await client.sendSignature(signDigest(Buffer.from(data, 'base64')));
  await waitFor('state', ({ name }) => name === 'CONNECTED');
});

test('answers the questions about a smart card', async (t) => {
  const token = ['--pkcs11-providers', '/usr/lib/softhsm/libsofthsm2.so', '--pkcs11-id-management'];
  const { client, waitFor } = await startLogin(t, lab.udp, ...token);
  const question = await waitFor('need-str');
  assert.equal(question.name, 'pkcs11-id-request');
  await client.needStr(question.name, 'SoftHSM\\x20project/SoftHSM\\x20v2/0123456789abcdef/absent/01');
  const request = await waitFor('need-ok');
  assert.equal(request.name, 'token-insertion-request');
  await client.needOk(request.name, 'cancel');
});

test('answers the signals that do not end it', async (t) => {
  const { client, waitFor } = await startLogin(t, lab.udp);
  await client.logOn();
  await waitFor('state', ({ name }) => name === 'CONNECTED');
  await client.signal('SIGUSR2');
  await waitFor('log', ({ message }) => message.includes('OpenVPN STATISTICS'));
  await client.signal('SIGHUP');
  await waitFor('state', ({ detail }) => detail === 'SIGHUP');
});

async function startReleased(t: TestContext, ...options: readonly string[]): Promise<StartedClient> {
  return startReleasedOf(t, lab.udp, ...options);
}

/** A client that has answered the login, which comes before every other question. */
async function startLogin(t: TestContext, server: Server, ...options: readonly string[]): Promise<StartedClient> {
  const started = await startReleasedOf(t, server, ...options);
  await started.client.answer(await started.waitFor('password-need'), { username: 'alice', password });
  return started;
}

async function startReleasedOf(t: TestContext, server: Server, ...options: readonly string[]): Promise<StartedClient> {
  const started = await lab.startClientOf(t, server, ...options);
  await Promise.all([started.client.stateOn(), started.client.holdRelease()]);
  return started;
}

interface ConnectRequest {
  /** Client and key: what every answer names. */
  readonly ids: readonly string[];
  readonly env: ReadonlyMap<string, string>;
}

/** The nth login that a server asks its management client about. */
async function waitForConnect({ events, waitFor }: StartedClient, nth: number): Promise<ConnectRequest> {
  const isStart = (line: string) => /^>CLIENT:(CONNECT|REAUTH),/.test(line);
  const start = await waitFor('unknown', ({ line }) => isStart(line), nth);
  await waitFor('unknown', ({ line }) => line === '>CLIENT:ENV,END', nth);
  const lines = events.flatMap((event) => (event.kind === 'unknown' ? [event.line] : []));
  const variables = lines.slice(lines.indexOf(start.line) + 1).filter((line) => line.startsWith('>CLIENT:ENV,'));
  const env = variables.map((line) => line.slice('>CLIENT:ENV,'.length).split(/=(.*)/s, 2));
  return {
    ids: start.line.split(',').slice(1),
    env: new Map(env.map(([name = '', value = '']) => [name, value])),
  };
}

function oathtool(moment: string): string {
  return execFileSync('oathtool', ['--totp', '--base32', `--now=${moment}`, totpSecret], { encoding: 'utf8' }).trim();
}

function listeners(): string {
  return execFileSync('ip', ['netns', 'exec', lab.netns, 'ss', '-Hltn'], { encoding: 'utf8' });
}

function certified(): readonly string[] {
  return ['--cert', join(lab.dir, 'server.crt')];
}

function encryptedKey(): string {
  const path = join(lab.dir, 'encrypted.key');
  const args = ['pkcs8', '-topk8', '-in', join(lab.dir, 'server.key'), '-out', path, '-passout', 'stdin'];
  execFileSync('openssl', args, { input: password });
  return path;
}

function signDigest(digest: Buffer): Buffer {
  return execFileSync('openssl', ['pkeyutl', '-sign', '-inkey', join(lab.dir, 'server.key')], { input: digest });
}

async function startProxy(t: TestContext): Promise<void> {
  const config = join(lab.dir, 'tinyproxy.conf');
  const lines = [
    `Port ${proxyPort}`,
    'Listen 127.0.0.1',
    'BasicAuth proxyuser proxypassword',
    `ConnectPort ${lab.tcp.port}`,
  ];
  writeFileSync(config, `${lines.join('\n')}\n`);
  await waitForOutput(lab.startProgram(t, 'tinyproxy', '-d', '-c', config), 'Accepting connections');
}
