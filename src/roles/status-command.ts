import { setTimeout as sleep } from 'node:timers/promises';
import { parseHealthAddress } from '../config/health.ts';
import { renderFaults } from '../config/report.ts';
import type { Status } from '../health/status.ts';
import { type Colours, renderTable } from '../health/table.ts';
import { askHttp } from '../system/http.ts';

const watchMs = 2_000;
const clearScreen = '\x1b[H\x1b[2J';

/** Prints the status of the router in this container; the exit code is 0 when it is healthy. */
export async function runStatus({
  form,
  isWatching,
  healthAddress,
  terminal,
}: {
  readonly form: 'table' | 'json';
  /** Again every 2 s, until it is stopped. */
  readonly isWatching: boolean;
  /** HEALTH_ADDR as given, or empty. Other settings do not matter here. */
  readonly healthAddress: string;
  readonly terminal: Colours;
}): Promise<number> {
  const parsed = parseHealthAddress(healthAddress.trim() || '127.0.0.1:9797');
  if (parsed.kind === 'faults') {
    process.stderr.write(`${renderFaults(parsed.faults, 'there is no status')}\n`);
    return 1;
  }
  const { host, port } = parsed.value;
  for (;;) {
    const answer = await askHttp({
      host: host === '0.0.0.0' ? '127.0.0.1' : host,
      port,
      path: '/status',
    });
    const text = answer?.status === 200 ? render(answer.body, form, terminal) : undefined;
    if (text === undefined) {
      process.stderr.write(`underbridge: no router answers at ${host}:${port}; run this in the router's container\n`);
      if (!isWatching) return 1;
    } else {
      process.stdout.write(isWatching && form === 'table' ? clearScreen + text : text);
      if (!isWatching) return (JSON.parse(answer?.body ?? '{}') as Status).health.healthy ? 0 : 1;
    }
    await sleep(watchMs);
  }
}

function render(body: string, form: 'table' | 'json', terminal: Colours): string {
  const status = JSON.parse(body) as Status;
  return form === 'json' ? `${JSON.stringify(status, null, 2)}\n` : renderTable(status, terminal);
}
