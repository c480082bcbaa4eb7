import { renderSpread, spreadOf } from './figures.ts';
import type { Row } from './report.ts';
import type { World } from './world.ts';

const targetMs = 20;

// The image's own entrypoint, with a program in place of node that tells the time and what the kernel holds by then.
// The shell reads the clock before it starts the entrypoint, so starting two programs is part of the measured time.
const script = `
cat >/bench/node <<'STUB'
#!/bin/bash
echo "$EPOCHREALTIME"
nft list ruleset
ip rule
ip -6 rule
STUB
chmod +x /bench/node
export PATH=/bench:$PATH
echo "$EPOCHREALTIME"
exec /usr/lib/underbridge/entrypoint
`;

/** From the entrypoint's start to the moment where it would start Node, each time in a new container. */
export async function measureLocks({ runConfined }: World, rounds: number): Promise<Row> {
  const took: number[] = [];
  for (let round = 0; round <= rounds; round += 1) {
    const output = await runConfined({
      options: ['--tmpfs', '/bench:exec', '--entrypoint', 'bash'],
      argv: ['-c', script],
    });
    const [started = '', armed = '', ...held] = output.split('\n');
    const kernel = held.join('\n');
    const closedChains = kernel.match(/policy drop/g)?.length ?? 0;
    const closedRules = kernel.match(/^1[13]0:.*unreachable/gm)?.length ?? 0;
    if (closedChains < 3 || closedRules < 4) throw new Error(`the entrypoint did not arm both locks:\n${output}`);
    if (round > 0) took.push((Number(armed) - Number(started)) * 1000);
  }
  const spread = spreadOf(took);
  return {
    what: `entrypoint start → both locks armed (n=${rounds})`,
    router: renderSpread(spread, 'ms'),
    target: { text: `≤ ${targetMs} ms`, isMet: spread.median <= targetMs },
  };
}
