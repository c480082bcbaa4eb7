// The host role's files, read by a role whose engine never answers. Needs root; about 6 s.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type LabProcess, makeNamespace, type Namespace, removeNamespace } from './lab/namespace.ts';

const bundle = join(import.meta.dirname, '../../dist/boot.cjs');

describe("the host role's file", () => {
  const folder = mkdtempSync(join(tmpdir(), 'underbridge-files-'));
  const file = join(folder, 'config/host.yaml');
  let machine: Namespace;
  let role: LabProcess;
  before(async () => {
    machine = await makeNamespace('ub-host-files');
    mkdirSync(join(folder, 'config'));
    writeFileSync(file, 'clients: report\n');
    const env = {
      ...process.env,
      HOST_CONFIG: file,
      DOCKER_HOST: `unix://${folder}/nobody.sock`,
      WATCH_PERIOD_SECONDS: '2',
    };
    role = machine.start({ env }, process.execPath, '--disable-warning=ExperimentalWarning', bundle, 'host');
    await role.says('Docker does not answer');
  });
  after(async () => {
    await removeNamespace(machine);
    await role.exited;
    rmSync(folder, { recursive: true });
  });

  it('is read within the watch period where its folder cannot be watched, while events never pause', async () => {
    // Another folder of that name is not the one that is watched.
    rmSync(join(folder, 'config'), { recursive: true });
    await role.says('is gone');
    mkdirSync(join(folder, 'config'));
    writeFileSync(file, 'clients: cut-off\n');
    const fromMs = performance.now();
    while (!role.output().includes('configuration read') && performance.now() - fromMs < 10_000) {
      await machine.run('iptables', '-N', `other-${Math.round(performance.now())}`);
      await sleep(200);
    }
    assert.match(role.output(), /configuration read/);
  });
});
