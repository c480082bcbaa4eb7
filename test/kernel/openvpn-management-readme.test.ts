// Needs root, /dev/net/tun, iproute2, oathtool, openssl and openvpn. Runs the examples of node-openvpn-mgmt's README, with the package
// as it would be published, against a real OpenVPN in a network namespace of its own.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ManagementClient, PasswordNeedEvent } from '../../src/node-openvpn-mgmt/src/index.ts';
import { expectedOutput, type InstalledPackage, installPackage } from '../unit/node-openvpn-mgmt/installed.ts';
import {
  clientOptions,
  type OpenVpnLab,
  password,
  startOpenVpnLab,
  totpSecret,
  waitForOutput,
} from './openvpn-management-lab.ts';

let lab: OpenVpnLab;
let installed: InstalledPackage;

before(async () => {
  [lab, installed] = await Promise.all([startOpenVpnLab(), installPackage()]);
});

after(async () => {
  await Promise.all([lab.dispose(), installed.dispose()]);
});

test('connects as the README says', async (t) => {
  const path = join(lab.dir, 'readme.sock');
  const example = startExample(t, 'connect.ts', path);
  while (!existsSync(path)) await sleep(10);
  const management = ['--management', path, 'unix', '--management-client', '--management-hold'];
  // With an address, because the README's client has one.
  const options = clientOptions(lab.dir, lab.udp).filter((option) => option !== '--ifconfig-noexec');
  lab.startProgram(t, 'openvpn', ...options, ...management, '--management-query-passwords').stdout.resume();
  const expected = await expectedOutput('connect.ts');
  assert.equal(await example.outputUntil('CONNECTED SUCCESS\n'), expected);
});

test('asks a running OpenVPN as the README says', async (t) => {
  const file = join(lab.dir, 'readme-password');
  writeFileSync(file, 'hidden\n');
  const management = [
    '--management',
    '127.0.0.1',
    '7505',
    file,
    '--management-hold',
    '--verb',
    '3',
    '--management-query-passwords',
  ];
  const openvpn = lab.startProgram(t, 'openvpn', ...clientOptions(lab.dir, lab.udp), ...management);
  await waitForOutput(openvpn, 'MANAGEMENT: TCP Socket listening');
  const example = startExample(t, 'ask.ts');
  assert.match(await example.outputUntil('\n'), new RegExp(`^${openvpn.pid} CONNECTING OpenVPN 2\\.\\d+\\.\\d+ .*\n$`));
});

test('answers with a one-time password as the README says', async (t) => {
  Object.assign(process.env, { VPN_USERNAME: 'totp', VPN_PASSWORD: 'bar', VPN_TOTP_SECRET: totpSecret });
  const example: {
    readonly answerWithCode: (client: ManagementClient, need: PasswordNeedEvent) => Promise<void>;
  } = await import(join(installed.folder, 'two-factors.ts'));
  const { client, waitFor } = await lab.startClient(t, '--static-challenge', 'Code', '0');
  await Promise.all([client.stateOn(), client.holdRelease()]);
  await example.answerWithCode(client, await waitFor('password-need'));
  await waitFor('state', ({ name }) => name === 'CONNECTED');
});

function startExample(t: TestContext, ...args: readonly string[]) {
  const env = { PATH: process.env.PATH, VPN_USERNAME: 'alice', VPN_PASSWORD: password, MANAGEMENT_PASSWORD: 'hidden' };
  const command = ['netns', 'exec', lab.netns, process.execPath, ...args];
  const child = spawn('ip', command, { cwd: installed.folder, env, stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  t.after(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  return {
    async outputUntil(end: string): Promise<string> {
      let output = '';
      for await (const chunk of child.stdout.iterator({ destroyOnReturn: false })) {
        output += String(chunk).replaceAll(/ $/gm, '');
        if (output.endsWith(end)) return output;
      }
      throw new Error(`the example ended after ${output}`);
    },
  };
}
