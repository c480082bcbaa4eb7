import assert from 'node:assert/strict';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { openBrowser } from './lab/browser.ts';
import { askTcp } from './lab/client.ts';
import { untilCounting } from './lab/counting.ts';
import { endpointOf } from './lab/endpoint.ts';
import { addIpv6, ipv6Addresses, ipv6Server } from './lab/ipv6.ts';
import { addresses, makeWorld, ports, type RunningRouter, type World } from './lab/world.ts';

// The page of a router with all there is: two tunnels, IPv6, forwards, and names that want to be more than text. Root,
// network namespaces and a real Chromium.
const evil = '<img src=x onerror=document.title=1><b id=evil>&amp;"\'';
const profileNames = [`a${evil.replaceAll('/', '')}.ovpn`, 'b<script>evil()</script>.ovpn'.replace('/', '')] as const;

let world: World;
let router: RunningRouter;
let browser: Browser;
let closeBrowser: () => Promise<void>;
before(async () => {
  world = await makeWorld();
  await addIpv6(world);
  const netns = `/etc/netns/${world.router.name}`;
  await mkdir(netns, { recursive: true });
  await writeFile(join(netns, 'resolv.conf'), 'nameserver 127.0.0.11\n');
  const resolver = join(import.meta.dirname, 'lab/ptr-resolver.ts');
  await world.router.start({}, 'node', resolver, '127.0.0.11', `${evil}.network`).says('listening');
  const text = await readFile(join(world.folder, 'client.ovpn'), 'utf8');
  const [first, second] = profileNames.map((name) => join(world.folder, name)) as [string, string];
  await writeFile(first, text);
  await writeFile(second, text.replace(addresses.server, addresses.secondServer));
  await Promise.all([
    world.startServer(ipv6Server({ over: 'ipv4', transport: 'udp' })),
    world.startServer({ address: addresses.secondServer, device: 'tun1', subnet: ['10.9.0.0', '255.255.255.0'] }),
  ]);
  router = world.startRouter({
    CONFIG: `${first}, ${second}`,
    STANDBY: 'on',
    IPV6: 'tunnel',
    IP6_ADDR: `${ipv6Addresses.gateway}/64`,
    PORT_FWD: `${addresses.client}:8080, [${ipv6Addresses.client}]:8080, 9000-9010:${addresses.other}:8080-8090/udp`,
  });
  const [opened] = await Promise.all([openBrowser(world.router), router.untilHealthy(30_000)]);
  ({ browser, close: closeBrowser } = opened);
  await untilCounting(world);
  await askTcp(world.client, addresses.web, ports.web);
  await askTcp(world.client, ipv6Addresses.web, ports.web);
  const { until } = endpointOf(world);
  await until(({ tunnels }) => tunnels.length === 2 && tunnels.every(({ healthy }) => healthy), 15_000);
  await until(({ clients }) => clients.some(({ name }) => name !== undefined));
});
after(async () => {
  await closeBrowser?.();
  await world?.remove();
  await rm(`/etc/netns/${world.router.name}`, { recursive: true, force: true });
});

async function open(page: Page): Promise<void> {
  await page.goto('http://127.0.0.1:9797/');
}

for (const javaScriptEnabled of [true, false]) {
  test(`shows names as they are and makes nothing of them, ${javaScriptEnabled ? 'live' : 'without a script'}`, async () => {
    const context = await browser.newContext({ javaScriptEnabled });
    const page = await context.newPage();
    const complaints: string[] = [];
    page.on('console', (message) => complaints.push(message.text()));
    page.on('pageerror', (error) => complaints.push(error.message));
    await open(page);
    if (javaScriptEnabled) await page.locator('#live', { hasText: /^Live$/ }).waitFor();
    const text = await page.locator('body').innerText();
    for (const essential of [
      evil,
      ...profileNames,
      /^Protected$/m,
      /tun0\s+carries clients\s+proven/,
      /tun1\s+stands by\s+proven/,
      new RegExp(ipv6Addresses.tunnel),
      /9000-9010/,
      new RegExp(`${ipv6Addresses.client}\\]?:8080`),
    ]) {
      assert.ok(
        typeof essential === 'string' ? text.includes(essential) : essential.test(text),
        `${essential}\n${text}`,
      );
    }
    assert.equal(await page.locator('img, #evil, main script').count(), 0);
    assert.notEqual(await page.title(), '1');
    assert.deepEqual(complaints, []);
    await context.close();
  });
}

test('shows what somebody changed and was put right, and what doctor found', async () => {
  const page = await browser.newPage();
  await open(page);
  await page.locator('#live', { hasText: /^Live$/ }).waitFor();
  await page.locator('#repairs', { hasText: 'Nobody else has changed anything.' }).waitFor();
  await world.router.run('ip', 'route', 'flush', 'table', '7101');
  await page.locator('#repairs li', { hasText: 'the kernel was changed by somebody else' }).waitFor();
  // It looks a second after somebody looks at the page.
  await page.locator('#doctor', { hasNotText: 'Doctor has not looked yet.' }).waitFor();
  assert.match(await page.locator('#doctor').innerText(), /^(Nothing found at \d|(leak|break|warning): )/);
  await page.close();
});
