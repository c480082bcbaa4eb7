import { $ } from 'zx';
import { renderSpread, spreadOf } from './figures.ts';
import type { Row } from './report.ts';
import { clientCommand, containerOf, type GatewayKind, gatewayKinds, server, type World } from './world.ts';

const targetMs = 600;
const patienceSeconds = 20;

/**
 * From the command `docker start` to the first answer that a client gets through the tunnel, each time with a new
 * container while the client is polling already; and Docker's own share, with a program that only tells the time.
 */
export async function measureStart(world: World, rounds: number): Promise<readonly Row[]> {
  const replies: Record<GatewayKind, number[]> = { router: [], plain: [] };
  const trivial: number[] = [];
  for (let round = 0; round <= rounds; round += 1) {
    const took = { router: await timeStart(world, 'router'), plain: await timeStart(world, 'plain') };
    const own = await timeTrivial(world);
    // The first round reads the images from the disk.
    if (round === 0) continue;
    for (const kind of gatewayKinds) replies[kind].push(took[kind]);
    trivial.push(own);
  }
  await world.remove('trivial');
  const router = spreadOf(replies.router);
  return [
    {
      what: `docker start → a client's first TCP reply (n=${rounds})`,
      router: renderSpread(router, 'ms'),
      plain: renderSpread(spreadOf(replies.plain), 'ms'),
      target: { text: `≤ ${targetMs} ms`, isMet: router.median <= targetMs },
    },
    { what: "of that Docker's own, up to a first program", router: renderSpread(spreadOf(trivial), 'ms') },
  ];
}

/** Makes a gateway anew and starts it; ms until a client behind it has an answer. The gateway stays. */
export async function timeStart({ engine, create }: World, kind: GatewayKind): Promise<number> {
  const name = await create(kind);
  const command = clientCommand(
    kind,
    ...['node', '/bench/poll.ts', server.address, `${server.greeterPort}`, `${patienceSeconds}`],
  );
  const polling = $({ quiet: true, nothrow: true, env: { ...process.env, ...engine.env } })`docker ${command}`;
  const lines = polling[Symbol.asyncIterator]();
  await lines.next();
  const startedMs = performance.timeOrigin + performance.now();
  await engine.docker('start', name);
  const { value: answer = '' } = await lines.next();
  const { exitCode } = await polling;
  const answeredMs = Number.parseFloat(answer);
  if (exitCode !== 0 || !answer.includes(' 10.213.9.')) {
    throw new Error(`the client behind ${kind}: ${answer}\n${await engine.docker('logs', '--tail', '20', name)}`);
  }
  return answeredMs - startedMs;
}

/** ms from `docker start` to the first instruction of a program, in a container that is set up like the router's. */
async function timeTrivial({ engine, create }: World): Promise<number> {
  const name = await create('trivial');
  const startedMs = performance.timeOrigin + performance.now();
  await engine.docker('start', name);
  await engine.docker('wait', name);
  return Number(await engine.docker('logs', containerOf('trivial'))) / 1e6 - startedMs;
}
