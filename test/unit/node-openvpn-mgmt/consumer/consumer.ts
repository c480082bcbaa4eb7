// A program of a stranger: what it does not use would not be noticed when it went missing.
import { PassThrough } from 'node:stream';
import {
  type Credentials,
  createManagementClient,
  createManagementParser,
  createPushReplyCollector,
  ManagementError,
  type ManagementErrorCode,
  type ManagementEvent,
  ProtocolError,
  parsePushReply,
  parseTotpSecret,
  renderCommand,
  renderCredentials,
  renderTotp,
  type StateName,
} from 'node-openvpn-mgmt';

const events: ManagementEvent[] = [];
const client = createManagementClient({ duplex: new PassThrough(), onEvent: (event) => events.push(event) });
// @ts-expect-error: OpenVPN knows no such signal.
client.signal('SIGKILL').catch(() => undefined);

const credentials: Credentials = { username: 'alice', response: undefined };
const codes: readonly ManagementErrorCode[] = ['MGMT_CLOSED', 'MGMT_PROTOCOL'];
const name: StateName = 'CONNECTED';
const pushed: readonly string[] | undefined = parsePushReply([])?.options;

client.close();
const reason = await client.closed;
const refused: unknown = await client.pid().catch((error: unknown) => error);
console.log(
  JSON.stringify({
    reason: reason.kind,
    code: refused instanceof ManagementError ? refused.code : undefined,
    known: codes.includes('MGMT_CLOSED') && name === 'CONNECTED' && pushed === undefined,
    line: renderCommand('password', ['Auth', 'p"w']),
    lines: renderCredentials({ kind: 'password-need', realm: 'Auth', wants: 'username' }, credentials),
    totp: renderTotp({ secret: parseTotpSecret('GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ'), timeMs: 59_000 }),
    messages: [...createManagementParser().push(Buffer.from('>HOLD:Waiting for hold release:0\n'))],
    reply: createPushReplyCollector().push({ kind: 'log', timeS: 0, flags: '', message: '' }) ?? null,
    inherits: new ProtocolError('x') instanceof ManagementError,
  }),
);
