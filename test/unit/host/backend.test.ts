import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { findBackend } from '../../../src/host/backend.ts';
import { parseSave } from '../../../src/ruleset/iptables-restore.ts';

const nothing = parseSave('');
const docker = parseSave('*filter\n:DOCKER-USER - [0:0]\nCOMMIT\n');
const somebody = parseSave('*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j ACCEPT\nCOMMIT\n');
const ours = parseSave('*filter\n:UNDERBRIDGE-INPUT - [0:0]\n-A UNDERBRIDGE-INPUT -j DROP\nCOMMIT\n');
/** With `--iptables=false` Docker leaves an empty chain. */
const leftover = parseSave('*nat\n:DOCKER - [0:0]\nCOMMIT\n');

describe('the program whose chains Docker uses', () => {
  const cases = [
    ['nft', docker, nothing],
    ['nft', docker, somebody],
    ['legacy', nothing, docker],
    ['legacy', somebody, docker],
    ['ambiguous', docker, docker],
    ['nft', nothing, nothing],
    ['legacy', nothing, somebody],
    ['nft', somebody, somebody],
    ['legacy', ours, somebody],
    ['legacy', leftover, docker],
  ] as const;
  for (const [index, [found, nft, legacy]] of cases.entries()) {
    it(`is ${found} in case ${index + 1}`, () => {
      assert.equal(findBackend({ nft, legacy }), found);
    });
  }
});
