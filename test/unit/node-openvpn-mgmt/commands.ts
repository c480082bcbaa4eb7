import type { ManagementClient, PasswordNeedEvent } from '../../../src/node-openvpn-mgmt/src/index.ts';

const need: PasswordNeedEvent = { kind: 'password-need', realm: 'Auth', wants: 'username/password' };

/** Every method that waits for OpenVPN. The mapped type makes a new method fail to compile until it is here. */
export const commands: {
  readonly [name in Exclude<keyof ManagementClient, 'closed' | 'close' | 'announceVersion'>]: (
    client: ManagementClient,
  ) => Promise<unknown>;
} = {
  pid: (client) => client.pid(),
  hold: (client) => client.hold(),
  setHold: (client) => client.setHold('on'),
  holdRelease: (client) => client.holdRelease(),
  signal: (client) => client.signal('SIGUSR1'),
  state: (client) => client.state(),
  stateOn: (client) => client.stateOn({ history: true }),
  stateOff: (client) => client.stateOff(),
  logOn: (client) => client.logOn(),
  logOff: (client) => client.logOff(),
  echoOn: (client) => client.echoOn(),
  bytecount: (client) => client.bytecount(5),
  echoOff: (client) => client.echoOff(),
  answer: (client) => client.answer(need, { username: 'u', password: 'p' }),
  username: (client) => client.username('Auth', 'u'),
  password: (client) => client.password('Auth', 'p'),
  crResponse: (client) => client.crResponse('r'),
  needOk: (client) => client.needOk('n', 'ok'),
  needStr: (client) => client.needStr('n', 'v'),
  forgetPasswords: (client) => client.forgetPasswords(),
  setAuthRetry: (client) => client.setAuthRetry('interact'),
  remoteAccept: (client) => client.remoteAccept(),
  remoteSkip: (client) => client.remoteSkip(2),
  remoteMod: (client) => client.remoteMod({ host: '192.0.2.1', port: 1194 }),
  useProxy: (client) => client.useProxy({ kind: 'http', host: '192.0.2.1', port: 3128 }),
  sendSignature: (client) => client.sendSignature(Buffer.alloc(256, 'x')),
  sendCertificate: (client) => client.sendCertificate('-----BEGIN CERTIFICATE-----'),
  verb: (client) => client.verb(),
  setVerb: (client) => client.setVerb(3),
  version: (client) => client.version(),
  status: (client) => client.status(3),
  send: (client) => client.send({ name: 'net', reply: 'block' }),
  exit: (client) => client.exit(),
};
