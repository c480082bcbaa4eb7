import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { applyNamespaceStep, cleanNamespace } from '../../../src/system/host-namespaces.ts';

// Whatever would be entered, no program is found.
process.env.PATH = '/nonexistent';

describe("the machine's own namespace, which a container may share and a process id may lead to", () => {
  it('is cleaned of nothing', async () => {
    await cleanNamespace(process.pid);
  });

  it('gets nothing that is meant for a container', async () => {
    const step = { kind: 'cut-off', pid: process.pid, container: 'client' } as const;
    await assert.rejects(applyNamespaceStep(step, 'nft'), /in the machine's own network/);
  });
});
