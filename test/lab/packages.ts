import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { $, type ProcessOutput } from 'zx';
import { step } from './step.ts';

const policyFile = '/usr/sbin/policy-rc.d';
const lockPatienceMs = 300_000;

const aptGet = $({
  quiet: true,
  nothrow: true,
  env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', NEEDRESTART_SUSPEND: '1' },
});
const aptConfigure = () => aptGet`dpkg --force-confold --configure -a`;

/** Installs the Debian packages of `names` that are missing; costs one dpkg query when none is. */
export async function ensurePackages(names: readonly string[]): Promise<void> {
  const missing = await missingPackages(names);
  if (missing.length === 0) return;
  step(`install ${missing.join(' ')}`);
  await updatePackageLists();
  const restoreServices = keepServicesStopped();
  try {
    await whileLocked(
      () =>
        aptGet`apt-get install --yes --quiet=2 --no-install-recommends -o DPkg::Lock::Timeout=${lockPatienceMs / 1000} ${missing}`,
    );
  } finally {
    restoreServices();
  }
}

/** The version that apt would install, or undefined where apt knows no such package. */
export async function candidateVersion(name: string): Promise<string | undefined> {
  const query = () => $({ quiet: true })`apt-cache policy ${name}`;
  let answer = (await query()).stdout;
  if (!answer.includes('Candidate:')) {
    await updatePackageLists();
    answer = (await query()).stdout;
  }
  const version = /Candidate: (\S+)/.exec(answer)?.[1];
  return version === '(none)' ? undefined : version;
}

async function missingPackages(names: readonly string[]): Promise<string[]> {
  const { stdout } = await execa('dpkg-query', ['--list', ...names], { reject: false });
  const installed = new Set(stdout.split('\n').flatMap((line) => /^ii\s+([^\s:]+)/.exec(line)?.[1] ?? []));
  return names.filter((name) => !installed.has(name));
}

async function updatePackageLists(): Promise<void> {
  await whileLocked(() => aptGet`apt-get update --quiet=2`);
}

// A run that was killed in the middle of an install leaves dpkg so that it refuses every other one.
// DPkg::Lock::Timeout covers dpkg's locks; the lock on /var/lib/apt/lists makes `apt-get update` give up at once.
async function whileLocked(run: () => PromiseLike<ProcessOutput>): Promise<void> {
  for (const deadline = Date.now() + lockPatienceMs; ; await sleep(1000)) {
    const output = await run();
    if (output.exitCode === 0) return;
    const interrupted = /dpkg was interrupted/.test(output.stderr) && Date.now() < deadline;
    if (interrupted && (await aptConfigure()).exitCode === 0) continue;
    const locked = /Could not get lock|Unable to lock/.test(output.stderr);
    if (!locked || Date.now() > deadline) throw new Error(`apt-get failed: ${output.stderr.trim()}`);
  }
}

// Without systemd, a maintainer script would run /etc/init.d/docker itself, and its failure would fail the install.
function keepServicesStopped(): () => void {
  if (existsSync('/run/systemd/system') || existsSync(policyFile)) return () => {};
  writeFileSync(policyFile, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  return () => rmSync(policyFile, { force: true });
}
