import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { askTcp } from './lab/client.ts';
import { addresses, makeWorld, ports, type World } from './lab/world.ts';

// A proxy between the router and the VPN server. Root and network namespaces; real OpenVPN on both ends.
let world: World;

before(async () => {
  world = await makeWorld();
});
after(() => world.remove());

const login = { username: 'proxy user', password: 'p"x\\ y' } as const;

for (const [kind, line] of [
  ['http', `http-proxy ${addresses.thirdServer} ${ports.openvpn} auto`],
  ['socks', `socks-proxy ${addresses.thirdServer} ${ports.openvpn} proxy-login`],
] as const) {
  const block =
    kind === 'http' ? `<http-proxy-user-pass>\n${login.username}\n${login.password}\n</http-proxy-user-pass>\n` : '';

  test(`reaches a server by its name behind a ${kind} proxy with a login, and opens nothing but the proxy`, async () => {
    const name = 'vpn.inside.test';
    const proxy = world.server.start(
      {},
      'node',
      join(import.meta.dirname, 'lab/proxy.ts'),
      ...[
        kind,
        addresses.thirdServer,
        `${ports.openvpn}`,
        login.username,
        login.password,
        `${name}=${addresses.server}`,
      ],
    );
    await proxy.says('listening');
    const server = await world.startServer({ transport: 'tcp' });
    const path = join(world.folder, `${kind}.ovpn`);
    const text = await readFile(join(world.folder, 'client-tcp.ovpn'), 'utf8');
    await writeFile(join(world.folder, 'proxy-login'), `${login.username}\n${login.password}\n`);
    await writeFile(path, `${text.replace(addresses.server, name)}${line}\n${block}`);
    const router = world.startRouter({ CONFIG: path, LOG_LEVEL: 'debug' });
    try {
      await router.untilHealthy();
      assert.equal(await askTcp(world.client, addresses.web, ports.web), '10.8.0.2');
      assert.match(proxy.output(), /^vpn\.inside\.test:1194$/m);
      const rules = await world.router.run('nft', 'list', 'chain', 'inet', 'underbridge', 'output');
      assert.match(rules, new RegExp(`ip daddr ${addresses.thirdServer} tcp dport ${ports.openvpn} accept`));
      assert.ok(!rules.includes(addresses.server));
      assert.ok(!router.output().includes(login.password) && !router.output().includes(login.username));
      assert.equal(await world.leaked(), 0);
    } finally {
      await router.stop();
      await server.stop();
      proxy.kill('SIGKILL');
    }
  });
}

test('says that the proxy did not take the login', async () => {
  const proxy = world.server.start(
    {},
    'node',
    join(import.meta.dirname, 'lab/proxy.ts'),
    ...['http', addresses.thirdServer, `${ports.openvpn}`, login.username, login.password],
  );
  await proxy.says('listening');
  const path = join(world.folder, 'refused.ovpn');
  const text = await readFile(join(world.folder, 'client-tcp.ovpn'), 'utf8');
  const block = '<http-proxy-user-pass>\nsomebody\nelse\n</http-proxy-user-pass>\n';
  await writeFile(path, `${text}http-proxy ${addresses.thirdServer} ${ports.openvpn}\n${block}`);
  const router = world.startRouter({ CONFIG: path });
  try {
    await router.process.says('blocked');
    const { hint: _, ...cause } = (await router.health()).cause as { readonly hint: string };
    assert.deepEqual(cause, {
      code: 'proxy-refused',
      text: 'the proxy 203.0.113.12:1194/tcp answered: HTTP/1.1 407 Proxy Authentication Required',
    });
  } finally {
    await router.stop();
    proxy.kill('SIGKILL');
  }
});
