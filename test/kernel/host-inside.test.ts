// What the host role writes into containers' namespaces and into files, read back and met by packets, by both programs of
// iptables. Needs root; about 15 s.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { compareRules } from '../../src/host/diff.ts';
import { renderForwardFile } from '../../src/host/forward-file.ts';
import { parseSave } from '../../src/ruleset/iptables-restore.ts';
import {
  applyNamespaceStep,
  cleanNamespace,
  observeInside,
  observeNamespaces,
} from '../../src/system/host-namespaces.ts';
import { seedBase } from '../image/host/seed-base.ts';
import { answerOf, untilAnswer } from '../image/host/world.ts';
import { container, network, port } from '../unit/host/machine.ts';
import { planPolicies, proxy, web1 } from '../unit/host/networks-machine.ts';
import { joinGroup, leaveGroup } from './lab/control-group.ts';
import { join, type LabProcess, makeNamespace, type Namespace, removeNamespace } from './lab/namespace.ts';

const answering = `${import.meta.dirname}/../image/host/answer.pl`;
const policy = { selector: 'edge', nat: 'dnat', to: 'web-1', port: 81 };

for (const backend of ['nft', 'legacy'] as const) {
  describe(`by iptables-${backend}`, () => {
    let spaces: Record<'client' | 'proxy' | 'web', Namespace>;
    let first: LabProcess;
    before(async () => {
      const made = ['client', 'proxy', 'web'].map((name) => makeNamespace(`ub-in-${name}-${backend}-${process.pid}`));
      const [client, between, web] = (await Promise.all(made)) as [Namespace, Namespace, Namespace];
      spaces = { client, proxy: between, web };
      const wire = (ns: Namespace, address: string, device: string) => ({ ns, address, device });
      await join(wire(client, '10.50.0.30/24', 'eth0'), wire(between, '10.50.0.10/24', 'eth0'));
      await join(wire(web, '10.51.0.21/24', 'eth0'), wire(between, '10.51.0.10/24', 'eth1'));
      await between.run('sysctl', '-qw', 'net.ipv4.ip_forward=1');
      first = between.start({}, 'sleep', '100');
      joinGroup(proxy.id, first.pid);
      web.start({}, 'perl', answering, 'web', 'tcp:81');
    });
    after(async () => {
      for (const ns of Object.values(spaces ?? {})) await removeNamespace(ns);
      await first.exited;
      leaveGroup(proxy.id);
    });

    /** The wanted steps for a proxy whose first process is that one. */
    const steps = async (policies: readonly object[]) => {
      const { pid } = first;
      const details = { pid, dns: [], isRouter: false };
      return planPolicies(policies, {
        docker: { containers: [{ ...proxy, details }, web1] },
        kernel: { inside: await observeInside([{ containerId: proxy.id, pid }], backend) },
      }).namespaces;
    };

    it('translates in the namespace of another, is read back as it was written, and goes without a trace', async () => {
      const ask = () => answerOf(spaces.client, '10.50.0.10', 81);
      assert.equal(await ask(), 'nobody');
      const [step, ...others] = await steps([policy]);
      assert.ok(step !== undefined && others.length === 0);
      await applyNamespaceStep(step, backend);
      // There is no route back to the client: only with masquerade does the answer come.
      await untilAnswer('web 10.51.0.10', spaces.client, '10.50.0.10', 81);
      assert.deepEqual(await steps([policy]), []);
      assert.equal(await cleanNamespace({ containerId: proxy.id, pid: first.pid }), true);
      assert.doesNotMatch(await spaces.proxy.run(`iptables-${backend}-save`), /UNDERBRIDGE/);
      assert.equal(await ask(), 'nobody');
    });

    it('does nothing in the namespace of a container that has the process number of another one now', async () => {
      const [step = assert.fail()] = await steps([policy]);
      const taken = { containerId: web1.id, pid: first.pid };
      assert.equal((await observeInside([taken], backend)).size, 0);
      assert.equal((await observeNamespaces([{ ...taken, mayBeCutOff: false }])).size, 0);
      const before = await spaces.proxy.run(`iptables-${backend}-save`);
      for (const one of [step, { ...step, kind: 'cut-off' } as const]) {
        await assert.rejects(
          applyNamespaceStep({ ...one, ...taken }, backend),
          /is not the first one of the container/,
        );
      }
      assert.equal(await cleanNamespace(taken), false);
      assert.equal(await spaces.proxy.run(`iptables-${backend}-save`), before);
      assert.doesNotMatch(await spaces.proxy.run('nft', 'list', 'tables'), /underbridge_cut/);
    });

    it('spells what passes the table raw, and what everybody may, as it is listed', async () => {
      const raw = '*raw\n-A PREROUTING -d 10.51.0.21/32 ! -i br-back -j DROP\nCOMMIT\n';
      const restore = (text: string) =>
        spaces.web.run('bash', '-c', `iptables-${backend}-restore --noflush <<'END'\n${text}END`);
      const saved = async () => parseSave(await spaces.web.run(`iptables-${backend}-save`));
      await restore(raw);
      const allow = ['0.0.0.0/0', '10.50.0.0/24'].map((from) => {
        return { place: '', from, to: '10.51.0.21', protocol: 'sctp', port: 80 } as const;
      });
      const change = async () => {
        const there = await saved();
        const [rules] = planPolicies([], { config: { allow }, kernel: { saved: { ipv4: there } } }).rules;
        return compareRules(rules ?? assert.fail(), there).restore;
      };
      const text = await change();
      assert.match(text, /^-A UNDERBRIDGE-PREROUTING -d 10\.51\.0\.21\/32 -p sctp /m);
      await restore(text);
      assert.equal(await change(), '');
    });

    it("forwards by a container's file what came for its bindings, and lists the rules as they were written", async (t) => {
      const [outside, machine, inner] = (await Promise.all(
        ['outside', 'machine', 'inner'].map((name) => makeNamespace(`ub-in-${name}-${backend}-${process.pid}`)),
      )) as [Namespace, Namespace, Namespace];
      t.after(() => Promise.all([outside, machine, inner].map(removeNamespace)));
      await join(
        { ns: outside, address: '10.60.0.2/24', device: 'eth0' },
        { ns: machine, address: '10.60.0.1/24', device: 'lan' },
      );
      await join(
        { ns: inner, address: '172.17.0.2/16', device: 'eth0' },
        { ns: machine, address: '172.17.0.1/16', device: 'docker0' },
      );
      await inner.run('ip', 'route', 'add', 'default', 'via', '172.17.0.1');
      await machine.run('ip', 'addr', 'add', '10.61.0.1/32', 'dev', 'lo');
      await outside.run('ip', 'route', 'add', '10.61.0.1', 'via', '10.60.0.1');
      await machine.run('sysctl', '-qw', 'net.ipv4.ip_forward=1');
      await machine.run(`iptables-${backend}`, '-P', 'FORWARD', 'DROP');
      inner.start({}, 'perl', answering, 'hello', 'tcp:80', 'udp:53');

      const ports = ['5000:80', '5001:53/udp', '10.60.0.1:5002:80', '127.0.0.1:5003:80', '36412:36412/sctp'].map(port);
      const one = container('hello', { bridge: '172.17.0.2' }, { ports });
      const links = [{ name: 'docker0', addresses: ['172.17.0.1/16'] }];
      const networks = [network('bridge', '172.17.0.0/16', { bridge: 'docker0' })];
      const snapshot = { docker: { version: '', networks, containers: [one] }, kernel: { links } };
      const text = renderForwardFile({ container: one, family: 'ipv4', chain: 'DOCKER_CONTAINERS' }, snapshot);
      for (const file of [seedBase, text]) {
        await machine.run('bash', '-c', `iptables-${backend}-restore --noflush <<'END'\n${file}END`);
      }
      const listed = (await machine.run(`iptables-${backend}-save`)).split('\n');
      const written = text.split('\n').filter((line) => line.startsWith('-A'));
      assert.equal(written.length, 8);
      for (const line of written) assert.ok(listed.includes(line), line);

      await untilAnswer('hello 10.60.0.2', outside, '10.60.0.1', 5000);
      await untilAnswer('hello 10.60.0.2', outside, '10.61.0.1', 5000);
      await untilAnswer('hello 10.60.0.2', outside, '10.60.0.1', 5001, 'udp');
      await untilAnswer('hello 10.60.0.2', outside, '10.60.0.1', 5002);
      assert.equal(await answerOf(outside, '10.61.0.1', 5002), 'nobody');
      assert.equal(await answerOf(outside, '10.60.0.1', 5003), 'nobody');
      assert.equal(await answerOf(outside, '10.60.0.1', 5001), 'nobody');
    });
  });
}
