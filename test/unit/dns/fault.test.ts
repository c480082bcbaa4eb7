import assert from 'node:assert/strict';
import { it } from 'node:test';
import { explainMiss, readCertificateProblem } from '../../../src/dns/fault.ts';
import { ipv4, port } from '../tunnel/endpoints.ts';

const upstreams = [{ address: ipv4('1.1.1.1'), port: port(853), name: 'one.example' }];

it('says which certificate was refused, and why', () => {
  const cause = explainMiss({ miss: 'silent', upstreams, certificateProblem: 'certificate has expired' });
  assert.deepEqual(cause, {
    code: 'certificate-refused',
    text: 'the certificate of 1.1.1.1:853 (one.example) was refused: certificate has expired',
  });
});

it('tells silence from an answer that says that there is none', () => {
  const explain = (miss: 'silent' | 'failed') => explainMiss({ miss, upstreams, certificateProblem: undefined }).code;
  assert.equal(explain('silent'), 'resolver-silent');
  assert.equal(explain('failed'), 'resolver-refuses');
});

const lines = {
  '[1] unbound[9:0] error: ssl handshake cert error: hostname mismatch': 'hostname mismatch',
  '[1] unbound[9:0] error: ssl handshake cert error: a\u001b[31mb': 'a?[31mb',
  '[1] unbound[9:0] error: ssl handshake failed crypto error:0A000086:SSL routines::certificate verify failed':
    'certificate verify failed',
  '[1] unbound[9:0] notice: ssl handshake failed 127.0.0.1 port 8862': undefined,
  '[1] unbound[9:0] info: start of service (unbound 1.26.2).': undefined,
};
for (const [line, problem] of Object.entries(lines)) {
  it(`reads ${JSON.stringify(line)}`, () => assert.equal(readCertificateProblem(line), problem));
}
