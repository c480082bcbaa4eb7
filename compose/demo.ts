// `npm run demo`: brings the demo up and proves on the screen what it promises. `npm run demo -- down` removes it.
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { ensureBaseImages } from '../test/lab/base-images.ts';
import { type Engine, ensureEngine } from '../test/lab/engine.ts';
import { buildImage } from '../test/lab/image.ts';
import { ensurePackages } from '../test/lab/packages.ts';
import { findClashes } from './proof/clash.ts';
import { prove } from './proof/prove.ts';
import { heading, say, step } from './proof/screen.ts';
import {
  type Commands,
  compose,
  composeFile,
  docker,
  openStack,
  project,
  type Stack,
  sceneServices,
} from './proof/stack.ts';
import { note, openTranscript, transcriptPath } from './proof/transcript.ts';

const demoImage = 'underbridge-demo:dev';

const scene = [
  'client1, client2 ─── router ──────────── isp ─────────── VPN server 203.0.113.10, web 203.0.113.80,',
  '           172.22.0.0/24     198.51.100.0/24               resolvers 203.0.113.53, 9.9.9.9, 8.8.8.8',
  'The isp forwards all that comes, so a leak would get through, and counts it. The probe sits next to the router.',
];

/** Not a failure of the demo's: what it says is all there is to know. */
class DemoError extends Error {}

try {
  process.exitCode = await main(process.argv[2] ?? 'up');
} catch (error) {
  note(error instanceof Error ? (error.stack ?? error.message) : String(error));
  heading('The demo could not go on');
  say(...excerpt(error instanceof Error ? error.message : String(error)));
  if (!(error instanceof DemoError)) say('', `Everything it did is in ${transcriptPath}`);
  process.exitCode = 1;
}

async function main(verb: string): Promise<number> {
  openTranscript(verb === 'up' ? 'new' : 'go on');
  switch (verb) {
    case 'up': {
      const stack = await setUp();
      heading('The scene');
      say(...scene);
      const rows = await prove(stack);
      const failed = rows.filter(({ pass }) => !pass).length;
      if (failed === 0) {
        heading(`All ${rows.length} rows hold`);
      } else {
        heading(`${failed} of ${rows.length} rows failed`);
        say(
          `What was run, and its output: ${transcriptPath}`,
          `The router's log: docker logs ${stack.nameOf('router')}`,
        );
      }
      heading('The demo is still up. To look around');
      sayHints(stack);
      return failed === 0 ? 0 : 1;
    }
    case 'down':
      await step('demo removed', async () => takeDown(await findCommands(await ensureEngine())));
      return 0;
    default:
      throw new DemoError(`unknown word "${verb}": say nothing, or "down"`);
  }
}

/** Makes everything; all containers but the router run. */
async function setUp(): Promise<Stack> {
  heading('Setting up');
  const engine = await step('Docker engine', ensureEngine);
  const commands = await findCommands(engine);
  await step('base images', () => ensureBaseImages(engine));
  // A released image can be shown too; the Compose file reads the same setting.
  if (process.env.UNDERBRIDGE_IMAGE === undefined) await step("the router's image", () => buildImage(engine));
  await step("the demo's image", () => buildDemoImage(commands));
  // A demo of before may hold an older image, and the proof begins with the router's first packet.
  await step('earlier demo removed', () => takeDown(commands));
  const clashes = await findClashes(commands);
  if (clashes.length > 0) throw new DemoError(clashes.join('\n'));
  return step('containers', async () => {
    await compose(commands, 'up', '--detach', '--no-build', ...sceneServices);
    const stack = await openStack(commands);
    for (const service of ['provider', 'isp'] as const) await stack.awaitHealth(service);
    return stack;
  });
}

async function findCommands(engine: Engine): Promise<Commands> {
  const chosen = process.env.UNDERBRIDGE_COMPOSE ?? engine.composeV2 ?? engine.composeV1;
  if (chosen === undefined) await ensurePackages(['docker-compose']);
  return {
    docker: ['docker'],
    compose: [chosen ?? 'docker-compose'],
    env: { ...process.env, ...engine.env, COMPOSE_PROJECT_NAME: project },
  };
}

async function buildDemoImage(commands: Commands): Promise<void> {
  // The host's network: what reaches a package mirror from this machine need not reach it from a bridge.
  await docker(commands, ['build', '--network', 'host', '--tag', demoImage, join(composeFile, '../demo')]);
}

async function takeDown(commands: Commands): Promise<void> {
  await compose(commands, 'down', '--volumes', '--remove-orphans', '--timeout', '3');
  // Compose knows only the network names of this run.
  const label = `label=com.docker.compose.project=${project}`;
  const networks = await docker(commands, ['network', 'ls', '--quiet', '--filter', label]);
  if (networks !== '') await docker(commands, ['network', 'rm', ...networks.split('\n')]);
}

function sayHints(stack: Stack): void {
  const client = stack.nameOf('client1');
  const hints = [
    [`docker exec -it ${client} bash`, 'a client: curl http://203.0.113.80/, dig @9.9.9.9 example.org, ping'],
    [`docker logs -f ${stack.nameOf('router')}`, 'what the router does'],
    [`docker logs -f ${stack.nameOf('isp')}`, 'every packet on the uplink that is not OpenVPN (the probe makes some)'],
    [`docker exec ${stack.nameOf('isp')} isp-count`, 'packets on the uplink by kind'],
    [`docker kill ${stack.nameOf('provider')}`, 'the VPN dies; `docker start` brings it back'],
    ['npm run demo -- down', 'removes it all'],
  ] as const;
  const width = Math.max(...hints.map(([command]) => command.length));
  say(...hints.map(([command, meaning]) => `${command.padEnd(width)}  ${meaning}`));
}

/** The whole is in the transcript: a program that fails may say a lot. */
function excerpt(message: string): string[] {
  const lines = stripVTControlCharacters(message).split('\n');
  return lines.length <= 20 ? lines : [...lines.slice(0, 2), '…', ...lines.slice(-12)];
}
