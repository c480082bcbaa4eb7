// The host role's rules in a network namespace with rules of others. Needs root; about 20 s.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { makeNamespace, type Namespace, removeNamespace } from './lab/namespace.ts';

const churn = `${import.meta.dirname}/lab/host-churn.ts`;

/** What Docker, a VPN and a user with a firewall may have put there, with what their authors like to write. */
const foreign = {
  iptables: `*mangle
:PREROUTING ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
-A FORWARD -o wg0 -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-USER - [0:0]
:ts-input - [0:0]
-A INPUT -j ts-input
-A INPUT -p tcp -m tcp --dport 22 -m comment --comment "ssh, \\"mine\\" $x" -j ACCEPT
-A FORWARD -j DOCKER-USER
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-USER -i eth0 -m limit --limit 5/min -j LOG --log-prefix "dropped: "
-A DOCKER-USER -i eth0 ! -s 192.0.2.0/24 -j DROP
-A DOCKER-USER -j RETURN
-A ts-input -s 100.64.0.1/32 -i lo -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
COMMIT
`,
  ip6tables: `*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:mine - [0:0]
-A INPUT -j mine
-A mine -s fd00::/8 -j RETURN
COMMIT
`,
};

for (const { backend, times } of [
  { backend: 'nft', times: 1_000 },
  { backend: 'legacy', times: 100 },
] as const) {
  describe(`rules by iptables-${backend}`, () => {
    let ns: Namespace;
    before(async () => {
      ns = await makeNamespace(`ub-host-${backend}-${process.pid}`);
      for (const [program, text] of Object.entries(foreign)) {
        await ns.run('bash', '-c', `${program}-${backend}-restore <<'END'\n${text}END`);
      }
    });
    after(() => removeNamespace(ns));

    /** Without counters, comments of the program, and what is ours. */
    const theirs = async () => {
      const saved = await Promise.all(['iptables', 'ip6tables'].map((name) => ns.run(`${name}-${backend}-save`)));
      const lines = saved
        .join('\n')
        .replace(/^#.*$/gm, '')
        .replace(/\[\d+:\d+\]/g, '')
        .split('\n');
      // The tables that only ours are in begin to be listed when the first of ours comes.
      return lines.filter((line) => line !== '' && !line.includes('UNDERBRIDGE-'));
    };

    it(`leaves those of others as they are, byte for byte, over ${times} reconciles; and writes only what changed`, async () => {
      const empty = async () => (await theirs()).filter((line) => !/^(\*|:[A-Z]+ ACCEPT|COMMIT)/.test(line));
      const before = await empty();
      assert.ok(before.length > 10);
      const output = await ns.run(process.execPath, churn, backend, `${times}`);
      assert.equal(Number(output.trim().split('\n').at(-1)), times / 5);
      assert.deepEqual(await empty(), before);
    });
  });
}

it('shuts by one table where another one cannot be changed', async (t) => {
  const ns = await makeNamespace('ub-host-busy');
  t.after(() => removeNamespace(ns));
  // iptables does not list what a map of nft leads to, so a chain of ours that nobody wants cannot go.
  const stale = 'UNDERBRIDGE-STALE';
  const chains = `add table ip mangle; add chain ip mangle ${stale}; add chain ip mangle other;`;
  await ns.run('nft', `${chains} add rule ip mangle other ip saddr vmap { 10.0.0.1 : jump ${stale} }`);
  const { exitCode, output } = await ns.attempt(process.execPath, churn, 'nft', '1');
  assert.equal(exitCode, 1);
  assert.match(output, new RegExp(`UnderbridgeError: iptables-nft-restore .*: line \\d+: CHAIN_DEL failed .*${stale}`));
  const saved = (table: string) => ns.run('iptables-save', '--table', table);
  assert.doesNotMatch(await saved('mangle'), /underbr/);
  assert.match(await saved('filter'), /-A UNDERBRIDGE-INPUT -i underbr .*-j DROP/);
});
