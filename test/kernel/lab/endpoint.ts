import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Status } from '../../../src/health/status.ts';
import { pidsIn } from './namespace.ts';
import type { World } from './world.ts';

/** The router's health endpoint, asked from inside its container. */
export interface Endpoint {
  readonly request: (
    path: string,
    ...options: readonly string[]
  ) => Promise<{ readonly body: string; readonly code: number; readonly ms: number }>;
  readonly status: () => Promise<Status>;
  /** The status, as soon as it is so. */
  readonly until: (isSo: (status: Status) => boolean, limitMs?: number) => Promise<Status>;
  /** An action of the control. */
  readonly post: (action: string, token: string) => ReturnType<Endpoint['request']>;
}

export function endpointOf({ router }: World): Endpoint {
  const request: Endpoint['request'] = async (path, ...options) => {
    const { stdout } = await router.attempt(
      'curl',
      ...['-s', '-m', '5', '-w', '\n%{http_code} %{time_total}'],
      ...options,
      `http://127.0.0.1:9797${path}`,
    );
    const [, body = '', code, seconds] = /^(.*)\n(\d+) ([\d.]+)$/s.exec(stdout) ?? [];
    return { body, code: Number(code), ms: Number(seconds) * 1_000 };
  };
  const status = async () => JSON.parse((await request('/status')).body) as Status;
  return {
    request,
    status,
    until: async (isSo, limitMs = 5_000) => {
      const endMs = performance.now() + limitMs;
      for (;;) {
        const seen = await status();
        if (isSo(seen)) return seen;
        assert.ok(performance.now() < endMs, JSON.stringify(seen));
        await sleep(100);
      }
    },
    post: (action, token) => request(`/control/${action}`, '-X', 'POST', '-H', `authorization: Bearer ${token}`),
  };
}

/** Everything that the router shows to somebody, if only to another program: its paths, its commands, its arguments. */
export async function allShown(
  world: World,
  env: Readonly<Record<string, string>>,
): Promise<Readonly<Record<string, string>>> {
  const { request } = endpointOf(world);
  const paths = ['/', '/status', '/metrics', '/healthz', '/readyz', '/page.js', '/nothing', '/control/pause'];
  const settings = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const commands = [['status'], ['status', '--json'], ['plan'], ['doctor'], ['doctor', '--json']];
  const shown = await Promise.all([
    ...paths.map(async (path) => [path, (await request(path)).body] as const),
    ...commands.map(async (words) => {
      const run = `${world.folder}/underbridge/run`;
      return [words.join(' '), (await world.router.attempt('env', ...settings, run, ...words)).output] as const;
    }),
    (async () => {
      const { output } = await world.router.attempt('curl', '-sN', '-m', '1', 'http://127.0.0.1:9797/events');
      return ['/events', output] as const;
    })(),
    (async () => ['arguments', await argumentsIn(world)] as const)(),
  ]);
  return Object.fromEntries(shown);
}

/** The command lines of every process in the router's namespace. */
export async function argumentsIn({ router }: World): Promise<string> {
  const lines = (await pidsIn(router)).map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => ''));
  return (await Promise.all(lines)).join('\n');
}

/** Every form in which a secret could be shown, where it is; what shows it is cut to what stands around it. */
export function leaksOf(secrets: readonly string[], shown: Readonly<Record<string, string>>): readonly string[] {
  return secrets.flatMap((secret) => {
    const escaped = secret.replaceAll('&', '&amp;').replaceAll('"', '&quot;').replaceAll('<', '&lt;');
    const base64 = Buffer.from(secret).toString('base64').replaceAll('=', '');
    const forms = new Set([secret, JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret), escaped, base64]);
    return [...forms].flatMap((form) =>
      Object.entries(shown).flatMap(([place, text]) => {
        const at = text.indexOf(form);
        return at < 0 ? [] : [`${place}: ${text.slice(Math.max(0, at - 200), at + form.length + 20)}`];
      }),
    );
  });
}
