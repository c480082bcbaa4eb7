import { parseArgs } from 'node:util';
import { renderFaults } from './config/report.ts';
import { exitCodeFor } from './doctor/finding.ts';
import { renderReport, renderReportJson } from './doctor/report.ts';
import { type Fault, UnderbridgeError } from './errors.ts';
import { describeHardening, missingLayers } from './plan/hardening.ts';
import { runDoctor } from './roles/doctor-command.ts';
import { renderPlan } from './roles/plan-command.ts';
import { startRouter } from './roles/router.ts';
import { setUpRouter } from './roles/router-setup.ts';
import { runStatus } from './roles/status-command.ts';
import { createLog } from './system/log.ts';
import { resolveHost } from './system/resolve.ts';

const usage = `Usage: underbridge [COMMAND]

Commands:
  router   run the router (the default)
  plan     print what the router would apply for this environment, and change nothing
  doctor   look for what leaks or breaks, one line each with what to type. In the router's container it looks from
           inside; elsewhere, or with CONTAINER, it asks Docker about the router, its network and its clients:
             docker run --rm -v /var/run/docker.sock:/var/run/docker.sock:ro underbridge doctor [CONTAINER]
           Exit 0: nothing found; 1: something leaks or breaks; 2: nothing could be looked at; 3: only warnings.
           With --json for programs.
  status   show the running router: tunnels, clients, what was refused; exit 0 when it is healthy. With --json for
           programs, with --watch again every 2 s
  host     keep the machine's own rules in step with Docker: a role of its own, see \`underbridge host --help\`
  forward  write a container's published ports into /etc/iptables.d: see \`underbridge forward --help\`
  version  print the version
`;

declare const UNDERBRIDGE_VERSION: string;

async function main(): Promise<number> {
  const given = parseCommandLine();
  if (typeof given === 'string') return misuse(given);
  const { positionals, values } = given;
  const command = values.version ? 'version' : values.help ? 'help' : (positionals[0] ?? 'router');
  if (values.json && command !== 'doctor' && command !== 'status') {
    return misuse('--json is an option of doctor and status');
  }
  if (values.watch && command !== 'status') return misuse('--watch is an option of status');
  switch (command) {
    case 'router':
      return runRouter();
    case 'plan':
      return runPlan();
    case 'doctor':
      return examine({ container: positionals[1], isJson: values.json ?? false });
    case 'status':
      return runStatus({
        form: values.json ? 'json' : 'table',
        isWatching: values.watch ?? false,
        healthAddress: process.env.HEALTH_ADDR ?? '',
        terminal: process.stdout.isTTY && !process.env.NO_COLOR ? 'coloured' : 'plain',
      });
    // Run by the router itself (resolveHostAs).
    case 'look-up':
      return lookUp(positionals.slice(1));
    case 'version':
      process.stdout.write(`${UNDERBRIDGE_VERSION}\n`);
      return 0;
    case 'help':
      process.stdout.write(usage);
      return 0;
    default:
      return misuse(`there is no command "${command}"`);
  }
}

/** What is wrong with the command line, as text, or its parts. */
function parseCommandLine() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        help: { type: 'boolean', short: 'h' },
        version: { type: 'boolean' },
        json: { type: 'boolean' },
        watch: { type: 'boolean' },
      },
    });
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    const option = /^Unknown option '([^']*)'/.exec(error.message)?.[1];
    return option === undefined ? error.message : `there is no option "${option}"`;
  }
}

function misuse(problem: string): number {
  process.stderr.write(`underbridge: ${problem}\n\n${usage}`);
  return 2;
}

async function runRouter(): Promise<number> {
  const stopSignal = new Promise<NodeJS.Signals>((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.on(name, resolve);
  });
  const setup = await Promise.race([setUpRouter({ env: process.env, purpose: 'run' }), stopSignal]);
  if (typeof setup === 'string') return 0;
  if (setup.kind === 'faults') return refuse(setup.faults, 'the router cannot start');
  const { config, warnings, profiles, facts } = setup.value;
  process.env.TZ = config.timeZone;
  const log = createLog({ level: config.logLevel, format: config.logFormat });
  for (const { name, problem, hint } of warnings) log.warn('setting is not known', { name, problem, hint });
  if (facts.firewall !== 'nft') log.warn('the rules are loaded by iptables', { program: facts.firewall });
  const hardening = describeHardening({ config, facts });
  log.info('layers of defence', hardening);
  const missing = missingLayers(hardening);
  if (missing.length > 0)
    log.warn('some layers of defence are missing here; the two locks hold without them', {
      missing,
      hint: 'Linux 5.16 or later with nf_tables, its netdev and arp families and nft_connlimit has them all',
    });
  for (const { profile } of profiles) {
    for (const { line, option, reason } of profile.ignored)
      log.debug('profile option left out', { profile: profile.name, line, option, reason });
  }
  const router = await startRouter({ setup: setup.value, version: UNDERBRIDGE_VERSION, log });
  try {
    log.info('stop requested', { signal: await Promise.race([stopSignal, router.failed]) });
    return 0;
  } finally {
    await router.stop();
  }
}

async function runPlan(): Promise<number> {
  const setup = await setUpRouter({ env: process.env, purpose: 'plan' });
  if (setup.kind === 'faults') return refuse(setup.faults, 'there is no plan');
  process.stdout.write(renderPlan(setup.value));
  return 0;
}

async function lookUp([host = '', ...families]: readonly string[]): Promise<number> {
  const asked = (['ipv4', 'ipv6'] as const).filter((family) => families.includes(family));
  process.stdout.write(`${JSON.stringify(await resolveHost(host, asked))}\n`);
  return 0;
}

async function examine({
  container,
  isJson,
}: {
  readonly container: string | undefined;
  readonly isJson: boolean;
}): Promise<number> {
  try {
    const report = await runDoctor({ env: process.env, container });
    process.stdout.write(isJson ? renderReportJson(report) : renderReport(report));
    return exitCodeFor(report.findings);
  } catch (error) {
    if (!(error instanceof UnderbridgeError)) throw error;
    process.stderr.write(renderError(error));
    // Not 1, which says that something was found.
    return 2;
  }
}

function refuse(faults: readonly Fault[], heading: string): number {
  process.stderr.write(`${renderFaults(faults, heading)}\n`);
  return 1;
}

function renderError(error: UnderbridgeError): string {
  return `underbridge: ${error.message}\n  ${error.hint} (${error.code})\n`;
}

// No top-level await: the bundle is CommonJS. A static import of node:http would enumerate its exports and so load undici,
// which costs 9 MiB and 30 ms; a require does not.
main().then(
  (exitCode) => process.exit(exitCode),
  (error: unknown) => {
    const message = error instanceof Error ? error.message : String(error);
    process.stderr.write(error instanceof UnderbridgeError ? renderError(error) : `underbridge: ${message}\n`);
    process.exit(1);
  },
);
