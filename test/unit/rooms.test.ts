import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { appendFile, cp, mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const repository = fileURLToPath(new URL('../..', import.meta.url));
const config = '.dependency-cruiser.json';

interface Report {
  readonly modules: readonly { readonly source: string }[];
  readonly summary: {
    readonly violations: readonly { readonly from: string; readonly rule: { readonly name: string } }[];
  };
}

/** A line for a file that breaks each ban. */
const breaches: Readonly<Record<string, { readonly file: string; readonly line: string }>> = {
  'pure-rooms-do-no-io': { file: 'plan/facts.ts', line: "export { readFileSync } from 'node:fs';" },
  'pure-rooms-do-not-reach-the-machine': { file: 'plan/router.ts', line: "export { run } from '../system/exec.ts';" },
  'system-does-not-know-roles': {
    file: 'system/http.ts',
    line: "import type { Router } from '../roles/router.ts';",
  },
  'net-is-the-ground': { file: 'net/address.ts', line: "import { renderFaults } from '../config/report.ts';" },
  'ruleset-knows-no-tunnel': { file: 'ruleset/model.ts', line: "import type { Policy } from '../tunnel/policy.ts';" },
  'tunnel-decides-without-plan': { file: 'tunnel/cause.ts', line: "import type { Plan } from '../plan/plan.ts';" },
  'host-knows-no-router': { file: 'host/plan.ts', line: "import type { Policy } from '../tunnel/policy.ts';" },
  'router-knows-no-host': { file: 'config/env.ts', line: "import type { HostConfig } from '../host/host-config.ts';" },
  'yaml-and-zod-only-in-host': { file: 'config/report.ts', line: "export { z } from 'zod';" },
  'doctor-does-not-act': { file: 'plan/router.ts', line: "export { exitCodeFor } from '../doctor/finding.ts';" },
  'management-protocol-stands-alone': {
    file: 'node-openvpn-mgmt/src/log.ts',
    line: "export { ok } from '../../errors.ts';",
  },
  'management-protocol-has-no-dependencies': {
    file: 'node-openvpn-mgmt/src/state.ts',
    line: "export { pino } from 'pino';",
  },
  'programs-only-by-execa': { file: 'system/nft.ts', line: "export { spawn } from 'node:child_process';" },
  'execa-only-in-system': { file: 'health/report.ts', line: "export { execa } from 'execa';" },
  'only-main-starts-roles': {
    file: 'config/settings-table.ts',
    line: "import type { Router } from '../roles/router.ts';",
  },
  'no-cycles-between-rooms': {
    file: 'config/router-config.ts',
    line: "import type { PlanConfig } from '../plan/context.ts';",
  },
};

describe('the rooms of src', () => {
  it('import only what they may', async () => {
    const { modules, summary } = await cruise(repository);
    assert.deepEqual(summary.violations, []);
    // A cruiser that cannot read TypeScript finds no violations either.
    for (const file of ['src/main.ts', 'src/tunnel/machine.ts', 'src/node-openvpn-mgmt/src/index.ts']) {
      assert.ok(
        modules.some(({ source }) => source === file),
        `${file} was not read`,
      );
    }
  });

  it('have a reason for every ban, and a breach that shows it', async () => {
    const { forbidden } = JSON.parse(await readFile(join(repository, config), 'utf8'));
    assert.deepEqual(forbidden.map(({ name }: { name: string }) => name).sort(), Object.keys(breaches).sort());
    for (const { name, comment } of forbidden) assert.match(comment, /^[A-Za-z].{20,}[.)]$/, name);
  });

  it('are found out when they break a ban', async (t) => {
    const copy = await copyOfSources();
    t.after(() => rm(copy, { recursive: true }));
    for (const { file, line } of Object.values(breaches)) await appendFile(join(copy, 'src', file), `\n${line}\n`);
    const { summary } = await cruise(copy);
    const found = summary.violations.map(({ rule, from }) => `${rule.name} in ${from}`);
    for (const [name, { file }] of Object.entries(breaches)) {
      assert.ok(found.includes(`${name} in src/${file}`), `${name} was not found; found were:\n${found.join('\n')}`);
    }
  });

  it('pass on no types of another room, because the cruiser does not see that', async () => {
    const { modules } = await cruise(repository);
    for (const { source } of modules.filter(({ source }) => source.startsWith('src/'))) {
      const text = await readFile(join(repository, source), 'utf8');
      assert.doesNotMatch(text, /^export type [^;]* from '\.\.\//m, source);
    }
  });

  it('compute without a clock, chance, environment or timer, which need no import', async () => {
    const { modules } = await cruise(repository);
    const pure = modules.filter(({ source }) =>
      /^src\/(net|config|dns|openvpn|tunnel|ruleset|plan|port-mapping|host|health|doctor)\/|^src\/errors\.ts$/.test(
        source,
      ),
    );
    assert.ok(pure.length > 40);
    for (const { source } of pure) {
      const text = await readFile(join(repository, source), 'utf8');
      const impure = /\b(Date\.now|new Date\(\)|performance\.|Math\.random|process\.|setTimeout|setInterval|fetch\()/;
      assert.doesNotMatch(withoutComments(text), impure, source);
    }
  });
});

function withoutComments(text: string): string {
  return text.replace(/\/\*.*?\*\/|\/\/[^\n]*/gs, '');
}

async function copyOfSources(): Promise<string> {
  const copy = await mkdtemp(join(tmpdir(), 'underbridge-rooms-'));
  for (const name of ['src', config, 'tsconfig.json', 'package.json']) {
    await cp(join(repository, name), join(copy, name), { recursive: true });
  }
  await symlink(join(repository, 'node_modules'), join(copy, 'node_modules'));
  return copy;
}

async function cruise(folder: string): Promise<Report> {
  const cruiser = join(repository, 'node_modules/.bin/depcruise');
  const args = [cruiser, '--config', config, '--output-type', 'json', 'src'];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: folder, maxBuffer: 2 ** 26 });
  return JSON.parse(stdout);
}
