import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { contains } from '../../../src/net/address.ts';
import { sampleEndpoint, sampleTunnel } from '../../../src/plan/sample.ts';
import { cidr } from '../config/outcome.ts';
import { ifName } from '../tunnel/endpoints.ts';

describe('what stands for things that are not known yet', () => {
  it('has addresses of the documentation range only (RFC 5737)', () => {
    const { address, pushedDns } = sampleTunnel(ifName('tun0'));
    for (const one of [sampleEndpoint.address, address, ...pushedDns])
      assert.ok(contains(cidr('198.51.100.0/24'), one));
    assert.ok(pushedDns.length > 0, 'or the plan would show no DNS rule');
  });
});
