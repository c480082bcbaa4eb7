// host-churn.ts BACKEND TIMES: reconciles the rules of this network namespace that often, by the host role's own code, to
// plans that change at every fifth time; prints how often something was written.

import type { Backend } from '../../../src/host/snapshot.ts';
import { compareAll } from '../../../src/roles/host-reconcile.ts';
import { applyRules, observeRules } from '../../../src/system/host-rules.ts';
import { apps, container, network, plan, port, underbridge } from '../../unit/host/machine.ts';

const backend = process.argv[2] as Backend;
const times = Number(process.argv[3]);
const six = network('six', 'fd00:5eed:1::/64');
const links = [
  { name: 'tailscale0', addresses: ['100.64.0.1/32'] },
  { name: 'br-apps', addresses: ['10.90.0.1/24'] },
  { name: 'br-six', addresses: ['fd00:5eed:1::1/64'] },
];
const reflecting = { name: 'veth1', addresses: [], reflectedBy: 'br-six' };
let writes = 0;
for (let time = 0; time < times; time += 1) {
  const observed = await observeRules(backend);
  const round = Math.floor(time / 5) % 7;
  const ports = Array.from({ length: round }, (_, index) =>
    port(`${8000 + index}:${80 + round}/${round % 2 ? 'udp' : 'tcp'}`),
  );
  const translated = {
    ...container(
      'six',
      {},
      { ports: [{ ...port(`${9000 + round}:80/sctp`), hostIp: round === 5 ? 'fd77::5' : '::' }] },
    ),
    endpoints: [{ network: 'six', ipv4: '', ipv6: `fd00:5eed:1::${round + 2}`, gatewayPriority: 0 }],
  };
  const { rules } = plan({
    config: {
      published: { place: '', interfaces: round < 3 ? ['tailscale0'] : 'local', hairpin: round % 2 === 0 },
      isolated: round === 4 ? [] : [{ place: '', network: 'underbridge' }],
      ...(round === 3 ? {} : { ipv6nat: { place: '' } }),
      allow: [{ place: '', from: '10.0.0.1', to: `10.0.0.${round + 2}`, protocol: 'tcp', port: 80 }],
    },
    docker: {
      networks: [apps, underbridge, { ...six, isInternal: round === 2 }],
      containers: [container('web', { apps: `10.90.0.${round + 2}` }, { ports }), translated],
    },
    kernel: { saved: observed.saved[backend], links: round % 2 ? links : [...links, reflecting] },
  });
  const changes = compareAll(rules, observed);
  for (const one of changes) await applyRules(one.backend, one.family, one.change);
  if (changes.length > 0) writes += 1;
}
process.stdout.write(`${writes}\n`);
