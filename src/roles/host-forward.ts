import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { escapeInvisible, renderFaults } from '../config/report.ts';
import { UnderbridgeError } from '../errors.ts';
import { families } from '../host/address.ts';
import { forwardFileName, isContainerName, isForwardChain, renderForwardFile } from '../host/forward-file.ts';
import { type HostSettings, parseHostSettings } from '../host/host-settings.ts';
import type { Family } from '../host/resource.ts';
import type { DockerSnapshot } from '../host/snapshot.ts';
import { type DockerApi, openDocker } from '../system/docker-api.ts';
import { run } from '../system/exec.ts';
import { observeHostDocker } from '../system/host-docker.ts';
import { dockerAddress } from '../system/host-docker-api.ts';
import { observeLinks } from '../system/host-machine.ts';
import { removeFile, replaceFile } from '../system/rules-file.ts';

const usage = `Usage: underbridge forward create|delete NAME [OPTIONS]

Writes a container's published ports as rules into a file for iptables-restore, or removes that file, and has the rules
loaded: for engines with --iptables=false (docs/host.md).

  --iptables-dir DIR    /etc/iptables.d
  --ip6tables-dir DIR   /etc/ip6tables.d
  --chain CHAIN         chain of the nat table for what is addressed to this machine: DOCKER_CONTAINERS
  --ipv6                IPv6 as well
  --reload COMMAND      what loads the rules, in place of \`systemctl restart iptables.service\`, and with --ipv6 the same
                        of ip6tables.service; empty: nothing. Words are parted by spaces; no shell
  --debug               print the rules
`;

const options = {
  'iptables-dir': { type: 'string', default: '/etc/iptables.d' },
  'ip6tables-dir': { type: 'string', default: '/etc/ip6tables.d' },
  chain: { type: 'string', default: 'DOCKER_CONTAINERS' },
  ipv6: { type: 'boolean', default: false },
  reload: { type: 'string' },
  debug: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

/** A unit calls this when `docker run` has begun, which may have an image to fetch. */
const patienceMs = 60_000;
const everyMs = 200;
/** Units that flush and load thousands of rules take their time. */
const reloadMs = 60_000;

type Values = ReturnType<typeof parseArgs<{ options: typeof options }>>['values'];

/** Runs the command by its words. @throws UnderbridgeError */
export async function runForward(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  const given = parseWords(args);
  if (typeof given === 'string') return misuse(given);
  const { values, positionals } = given;
  if (values.help) {
    process.stdout.write(usage);
    return 0;
  }
  const [verb, name, ...rest] = positionals;
  if (verb !== 'create' && verb !== 'delete') return misuse('say create or delete');
  if (name === undefined || !isContainerName(name)) return misuse(`${JSON.stringify(name ?? '')} names no container`);
  if (rest.length > 0) return misuse(`"${rest[0]}" is too much`);
  if (!isForwardChain(values.chain)) return misuse(`${JSON.stringify(values.chain)} is no chain that can be used here`);
  const settings = parseHostSettings(env);
  if (settings.kind === 'faults') {
    process.stderr.write(`${renderFaults(settings.faults, 'nothing was written')}\n`);
    return 1;
  }
  const folders: Readonly<Record<Family, string>> = { ipv4: values['iptables-dir'], ipv6: values['ip6tables-dir'] };
  const texts = verb === 'create' ? await renderFiles(name, values, settings.value) : { ipv4: '', ipv6: '' };
  const touched = families.filter((family) => {
    const path = join(folders[family], forwardFileName(name));
    const text = texts[family];
    if (text === '') {
      const wasThere = removeFile(path);
      if (wasThere) tell(`${path} removed`);
      return wasThere;
    }
    replaceFile(path, text);
    tell(`${path} written`);
    if (values.debug) process.stdout.write(text);
    return true;
  });
  if (touched.length === 0) tell(`${name}: nothing to ${verb === 'create' ? 'forward' : 'remove'}`);
  for (const command of reloadCommands(touched, values.reload)) {
    const [file = '', ...words] = command.split(/\s+/);
    tell(command);
    await run({ file, args: words, timeoutMs: reloadMs });
  }
  return 0;
}

function parseWords(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], allowPositionals: true, options });
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return error.message;
  }
}

function reloadCommands(touched: readonly Family[], stated: string | undefined): readonly string[] {
  if (stated !== undefined) return touched.length === 0 || stated.trim() === '' ? [] : [stated.trim()];
  return touched.map((family) => `systemctl restart ${family === 'ipv6' ? 'ip6tables' : 'iptables'}.service`);
}

async function renderFiles(
  name: string,
  { chain, ipv6 }: Pick<Values, 'chain' | 'ipv6'>,
  settings: HostSettings,
): Promise<Readonly<Record<Family, string>>> {
  const docker = await openDocker(dockerAddress(settings));
  try {
    const seen = await awaitContainer(docker, name);
    const snapshot = { docker: seen.docker, kernel: { links: await observeLinks() } };
    const render = (family: Family) => {
      const text = renderForwardFile({ container: seen.container, family, chain }, snapshot);
      if (text !== 'unreachable') return text;
      throw new UnderbridgeError({
        code: 'UB_CONFIG',
        message: `${name} publishes ports and has no network by which this machine could reach it`,
        hint: "attach it to an ordinary bridge network; in a container, run this with the machine's network",
      });
    };
    return { ipv4: render('ipv4'), ipv6: ipv6 ? render('ipv6') : '' };
  } finally {
    docker.close();
  }
}

async function awaitContainer(docker: DockerApi, name: string) {
  for (const fromMs = performance.now(); ; await sleep(everyMs)) {
    const seen: DockerSnapshot = await observeHostDocker(docker);
    const container = seen.containers.find((one) => one.name === name || one.id === name);
    if (container !== undefined) return { docker: seen, container };
    if (performance.now() - fromMs < patienceMs) continue;
    throw new UnderbridgeError({
      code: 'UB_DOCKER',
      message: `no running container is called ${name}`,
      hint: 'start it, or correct the name',
    });
  }
}

function tell(line: string): void {
  process.stdout.write(`${escapeInvisible(line)}\n`);
}

function misuse(problem: string): number {
  process.stderr.write(`underbridge: ${problem}\n\n${usage}`);
  return 2;
}
