// What every failure costs: time to notice and to heal, packets of clients that leaked, and the sentence that people
// get. Then many reconnects, with what the router holds before and after. Root and network namespaces; no engine.
// `npm run bench:recovery -- [--kills N] [--reconnects N] [--only WORDS]`

import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { type CauseLab, makeCauseLab, newClient, newServer, provoke } from '../kernel/lab/causes.ts';
import { askTcp, startFlood } from '../kernel/lab/client.ts';
import { failures } from '../kernel/lab/failures.ts';
import { pushUpdate } from '../kernel/lab/push-update.ts';
import { countHoldings, type Holdings, reconnect } from '../kernel/lab/reconnects.ts';
import { makeStandbyLab } from '../kernel/lab/standby.ts';
import { addresses, makeWorld, ports, type World } from '../kernel/lab/world.ts';
import { renderNumber, spreadOf } from './figures.ts';

const { values } = parseArgs({
  options: {
    reconnects: { type: 'string', default: '1000' },
    kills: { type: 'string', default: '20' },
    only: { type: 'string', default: '' },
  },
});
const reconnects = Number(values.reconnects);
const kills = Number(values.kills);

const world = await makeWorld();
try {
  await measureFailures(world, values.only);
  if (kills > 0) await measureStandby(world, kills);
  if (reconnects > 0) await measureReconnects(world, reconnects);
} finally {
  await world.remove();
}

async function measureFailures(lab: World, only: string): Promise<void> {
  const causes = await makeCauseLab(lab);
  say('| What happens | cause | noticed | healed | leaked | sentence |');
  say('| --- | --- | --- | --- | --- | --- |');
  for (const failure of failures.filter(({ name }) => name.includes(only))) {
    const { cause, noticedMs, healedMs, leaked } = await provoke(causes, failure);
    const healed = `${healedMs} ms${failure.isOfProfile ? ' after the profile is mended' : ''}`;
    say(`| ${failure.name} | \`${cause.code}\` | ${noticedMs} ms | ${healed} | ${leaked} | ${cause.text} |`);
    if (leaked > 0) process.exitCode = 1;
  }
  if ('PUSH_UPDATE'.includes(only)) await measureUpdate(causes);
}

/** A server of OpenVPN 2.7 changes the address of a tunnel that works: no failure, and clients go on by the new one. */
async function measureUpdate(causes: CauseLab): Promise<void> {
  const { world: lab, newOpenvpn } = causes;
  const server = await lab.startServer(newServer(causes));
  const router = lab.startRouter(newClient(causes));
  try {
    await router.untilHealthy();
    await lab.forgetLeaks();
    const flood = startFlood(lab.other, addresses.web, ports.web, 20);
    const fromMs = performance.now();
    await pushUpdate(newOpenvpn.socket, 'ifconfig 10.8.0.77 255.255.255.0');
    while ((await askTcp(lab.client, addresses.web, ports.web)) !== '10.8.0.77') {
      if (performance.now() - fromMs > 15_000) throw new Error(router.output());
    }
    const healed = renderNumber(performance.now() - fromMs);
    flood.kill('SIGTERM');
    const [leaked, { attempts }] = [await lab.leaked(), await router.health()];
    say(
      `| server that changes the address (PUSH_UPDATE) | none | | ${healed} ms | ${leaked} | attempts so far: ${attempts} |`,
    );
    if (leaked > 0 || attempts !== 1) process.exitCode = 1;
  } finally {
    await router.stop();
    await server.stop();
  }
}

/** Kills the server that carries clients, again and again, and looks how soon a client's flow goes on. */
async function measureStandby(lab: World, times: number): Promise<void> {
  const standby = await makeStandbyLab(lab);
  try {
    const switchesMs: number[] = [];
    await lab.forgetLeaks();
    for (let done = 0; done < times; done += 1) switchesMs.push(await standby.killCarrier());
    const { median, most } = spreadOf(switchesMs);
    say(
      `\n${times} kills of the server that carries clients, with STANDBY=on: clients go on after ${renderNumber(median)} ms`,
    );
    say(`(median; the worst was ${renderNumber(most)} ms), ${await lab.leaked()} packets leaked.`);
    if (most > 1_000 || (await lab.leaked()) > 0) process.exitCode = 1;
  } finally {
    await standby.stop();
  }
}

async function measureReconnects(lab: World, times: number): Promise<void> {
  const server = await lab.startServer();
  const router = lab.startRouter();
  try {
    await router.untilHealthy();
    // Heaps and caches fill first.
    await reconnect(lab, router, Math.min(50, times));
    await sleep(2_000);
    const before = await countHoldings(lab, router);
    const fromMs = performance.now();
    await reconnect(lab, router, times);
    const eachMs = (performance.now() - fromMs) / times;
    await sleep(2_000);
    const after = await countHoldings(lab, router);
    say(`\n${times} reconnects, ${Math.round(eachMs)} ms each:\n`);
    say('| | before | after |');
    say('| --- | --- | --- |');
    for (const name of Object.keys(before) as (keyof Holdings)[]) say(`| ${name} | ${before[name]} | ${after[name]} |`);
    const isSame = Object.entries(before).every(
      ([name, value]) => name === 'residentBytes' || value === after[name as keyof Holdings],
    );
    if (!isSame) process.exitCode = 1;
  } finally {
    await router.stop();
    await server.stop();
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
