import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type LogEvent, parsePushReply } from '../../../src/node-openvpn-mgmt/src/index.ts';

function log(message: string): LogEvent {
  return { kind: 'log', timeS: 1, flags: '', message };
}

function pushed(tokens: string): LogEvent {
  return log(`PUSH: Received control message: 'PUSH_REPLY,${tokens}'`);
}

test('gives the options of a push reply', () => {
  const options = [
    'redirect-gateway def1',
    'dhcp-option DNS 10.8.0.1',
    'ifconfig 10.8.0.6 255.255.255.0',
    "setenv it's",
  ];
  assert.deepEqual(parsePushReply([pushed(options.join(','))]), { options });
});

test('drops the pieces of a reply that a restart cut off', () => {
  const restart = log('SIGUSR1[soft,ping-restart] received, process restarting');
  assert.deepEqual(parsePushReply([pushed('route 10.1.0.0,push-continuation 2'), restart, pushed('ping 5')]), {
    options: ['ping 5'],
  });
});

test('takes nothing from a reply that was cut in the log', () => {
  assert.equal(parsePushReply([log("PUSH: Received control message: 'PUSH_REPLY,route 10.1.0.0,rou")]), undefined);
});

test('takes nothing from other lines', () => {
  assert.equal(
    parsePushReply([log('SENT CONTROL [vpn]: PUSH_REQUEST'), log('AUTH: Received control message')]),
    undefined,
  );
});

test('gives a reply without options', () => {
  assert.deepEqual(parsePushReply([log("PUSH: Received control message: 'PUSH_REPLY'")]), { options: [] });
});

test('gives the last of two replies', () => {
  assert.deepEqual(parsePushReply([pushed('ping 5'), pushed('ping 9')]), { options: ['ping 9'] });
});

test('gives the same options however a server cuts its reply into pieces', () => {
  const option = fc.stringMatching(/^[a-z][a-z0-9 .]{0,20}[a-z0-9]$/);
  const pieces = fc.array(fc.array(option, { minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(pieces, (parts) => {
      const lines = parts.map((part, index) =>
        pushed([...part, `push-continuation ${index < parts.length - 1 ? 2 : 1}`].join(',')),
      );
      assert.deepEqual(parsePushReply(lines), { options: parts.flat() });
    }),
  );
});

test('gives what holds after an update of 2.7', () => {
  const update = (tokens: string) => log(`PUSH: Received control message: 'PUSH_UPDATE,${tokens}'`);
  const reply = pushed('dhcp-option DNS 10.0.0.1,dhcp-option DNS 10.0.0.2,ping 5,route 10.1.0.0');
  assert.deepEqual(parsePushReply([reply, update('dhcp-option DNS 10.0.0.3'), update('-route,?ping 9')]), {
    options: ['dhcp-option DNS 10.0.0.3', 'ping 9'],
  });
  const pieces = [update('dhcp-option DNS 10.0.0.4,push-continuation 2'), update('dhcp-option DNS 10.0.0.5')];
  assert.deepEqual(parsePushReply([reply, ...pieces])?.options.slice(-2), [
    'dhcp-option DNS 10.0.0.4',
    'dhcp-option DNS 10.0.0.5',
  ]);
});

test('holds no more than a server may push, however often it updates', () => {
  const names = (piece: number) => Array.from({ length: 1_000 }, (_, index) => `option${piece}x${index} x`).join(',');
  const updates = [1, 2, 3, 4, 5].map((piece) => log(`PUSH: Received control message: 'PUSH_UPDATE,${names(piece)}'`));
  assert.equal(parsePushReply(updates)?.options.length, 4_096);
});
