import { createManagementParser, type ManagementMessage } from '../../../src/node-openvpn-mgmt/src/index.ts';

/** Feeds chunks to one parser; text is UTF-8. */
export function parseChunks(...chunks: readonly (Uint8Array | string)[]): readonly ManagementMessage[] {
  const parser = createManagementParser();
  return chunks.flatMap((chunk) => [...parser.push(typeof chunk === 'string' ? Buffer.from(chunk) : chunk)]);
}

/** Parses one line. */
export function parseOne(line: string): ManagementMessage | undefined {
  return parseChunks(`${line}\r\n`)[0];
}

/** A connection to a 2.6.14 client, as recorded: every kind of line, replies between notifications, text that is not ASCII. */
export const recordedSession = Buffer.from(
  [
    'ENTER PASSWORD:SUCCESS: password is correct',
    ">INFO:OpenVPN Management Interface Version 5 -- type 'help' for more info",
    '>HOLD:Waiting for hold release:0',
    'SUCCESS: pid=9904',
    'SUCCESS: real-time state notification set to ON',
    '1795169037,CONNECTING,,,,,,',
    'END',
    ">LOG:1795169040,D,MANAGEMENT: CMD 'hold release'",
    'SUCCESS: hold release succeeded',
    ">PASSWORD:Need 'Auth' username/password SC:3,Zahl für „Tür“, bitte",
    ">LOG:1795169049,D,MANAGEMENT: CMD 'password [...]'",
    "SUCCESS: 'Auth' password entered, but not yet verified",
    '>STATE:1795169049,WAIT,,,,,,',
    '>STATE:1795169049,AUTH,,,,,,',
    ">LOG:1795169050,,PUSH: Received control message: 'PUSH_REPLY,route-gateway 10.8.0.1,ifconfig 10.8.0.6 255.255.255.0'",
    '>STATE:1795169050,ASSIGN_IP,,10.8.0.6,,,,,fd00::6',
    '>UPDOWN:UP',
    '>UPDOWN:ENV,X509_0_CN=Schlüssel=wert',
    '>LOG:1795169050,I,net_addr_v4_add: 10.8.0.6/24 dev tun4',
    '>UPDOWN:ENV,dev=tun4',
    '>UPDOWN:ENV,END',
    '>STATE:1795169050,CONNECTED,SUCCESS,10.8.0.6,203.0.113.7,1194,192.0.2.2,40000,fd00::6',
    '>BYTECOUNT:4211,3888',
    '>NOTIFY:info,server-pushed-connection-reset,',
    '>FATAL:ran out of 🐙',
    '',
  ].join('\r\n'),
);
