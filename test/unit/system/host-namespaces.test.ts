import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { applyNamespaceStep, cleanNamespace } from '../../../src/system/host-namespaces.ts';

// Whatever would be entered, no program is found.
process.env.PATH = '/nonexistent';
/** Any process is in this one. */
const own = { pid: process.pid, containerId: '/' };

describe("the machine's own namespace, which a container may share and a process id may lead to", () => {
  it('is cleaned of nothing', async () => {
    assert.equal(await cleanNamespace(own), false);
  });

  it('gets nothing that is meant for a container', async () => {
    const step = { kind: 'cut-off', ...own, container: 'client' } as const;
    await assert.rejects(applyNamespaceStep(step, 'nft'), /cannot be entered/);
  });
});
