import { parseArgs } from 'node:util';
import { renderFaults } from './config/report.ts';
import { type Fault, UnderbridgeError } from './errors.ts';
import { parseHostSettings } from './host/host-settings.ts';
import { startHost } from './roles/host.ts';
import { cleanUp, printPlan, printStatus, reconcileOnce } from './roles/host-command.ts';
import { runForward } from './roles/host-forward.ts';
import { readHostFiles } from './system/host-config-file.ts';
import { findMissingRights } from './system/host-machine.ts';
import { createLog } from './system/log.ts';

declare const UNDERBRIDGE_VERSION: string;

const usage = `Usage: underbridge host [COMMAND] [--once]

Keeps the machine's own rules in step with Docker: shuts isolated networks, forwards published ports (docs/host.md).

Commands:
  (none)    run until stopped; with --once, reconcile once and end
  plan      print what would be changed, and change nothing
  cleanup   remove every rule and chain of ours, and nothing else
  status    print the status of the running host role; exit 0 when it is healthy
  forward   write a container's published ports into /etc/iptables.d: see \`underbridge forward --help\`

Options of docker-ipv6nat, for those who come from it:
  -cleanup  remove every rule of ours at a stop
  -debug    log each rule that comes or goes, as LOG_LEVEL=debug does
  -retry    come back to Docker after it was away, as it is done in any case
  -version  print the version
`;

// A bundle of its own: the router's does not grow by it.
async function main(): Promise<number> {
  const [first, ...words] = process.argv.slice(2).filter((word, index) => index > 0 || word !== 'host');
  if (first === 'forward') return runForward(words, process.env);
  const given = parseCommandLine();
  if (typeof given === 'string') return misuse(given);
  const [, command, ...rest] = given.positionals;
  if (given.values.help) {
    process.stdout.write(usage);
    return 0;
  }
  if (given.values.version) {
    process.stdout.write(`underbridge ${UNDERBRIDGE_VERSION}\n`);
    return 0;
  }
  if (rest.length > 0) return misuse(`"${rest[0]}" is too much`);
  const [option] = Object.keys(given.values);
  if (option !== undefined && command !== undefined) return misuse(`--${option} is no option of ${command}`);
  const parsed = parseHostSettings(process.env);
  if (parsed.kind === 'faults') return refuse(parsed.faults);
  const settings = given.values.debug ? { ...parsed.value, logLevel: 'debug' as const } : parsed.value;
  if (command === 'status') return printStatus(settings);
  const missing = findMissingRights();
  if (command === 'cleanup') return missing.length > 0 ? refuse(missing) : cleanUp({ settings });
  if (command !== undefined && command !== 'plan') return misuse(`there is no command "${command}"`);
  const { seen, config } = readHostFiles(settings);
  const faults = [...missing, ...(config.kind === 'faults' ? config.faults : [])];
  if (config.kind === 'faults' || faults.length > 0) return refuse(faults);
  const task = { settings, config: config.value };
  if (command === 'plan') return printPlan(task);
  return given.values.once ? reconcileOnce(task) : runHost({ ...task, seen }, given.values.cleanup ? 'remove' : 'keep');
}

async function runHost(task: Omit<Parameters<typeof startHost>[0], 'log'>, rules: 'keep' | 'remove'): Promise<number> {
  const stopSignal = new Promise<NodeJS.Signals>((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.on(name, resolve);
  });
  const { logLevel, logFormat } = task.settings;
  const log = createLog({ level: logLevel, format: logFormat });
  const role = await startHost({ ...task, log });
  process.on('SIGHUP', role.reload);
  log.info('stop requested', { signal: await Promise.race([stopSignal, role.failed]), rules });
  await role.stop();
  return rules === 'remove' ? cleanUp(task) : 0;
}

/** What is wrong with the command line, as text, or its parts. */
function parseCommandLine() {
  try {
    return parseArgs({
      // docker-ipv6nat has one hyphen.
      args: process.argv.slice(2).map((word) => (/^-(cleanup|debug|retry|version)$/.test(word) ? `-${word}` : word)),
      allowPositionals: true,
      options: {
        help: { type: 'boolean', short: 'h' },
        once: { type: 'boolean' },
        cleanup: { type: 'boolean' },
        debug: { type: 'boolean' },
        retry: { type: 'boolean' },
        version: { type: 'boolean' },
      },
    });
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return error.message;
  }
}

function misuse(problem: string): number {
  process.stderr.write(`underbridge: ${problem}\n\n${usage}`);
  return 2;
}

function refuse(faults: readonly Fault[]): number {
  process.stderr.write(`${renderFaults(faults, 'the host role cannot start; the rules stay as they are')}\n`);
  return 1;
}

main().then(
  (exitCode) => process.exit(exitCode),
  (error: unknown) => {
    const isExpected = error instanceof UnderbridgeError;
    const message = error instanceof Error ? error.message : String(error);
    process.stderr.write(`underbridge: ${message}\n${isExpected ? `  ${error.hint} (${error.code})\n` : ''}`);
    process.exit(1);
  },
);
