import { formatRate, formatSeconds } from './format.ts';
import type { Series } from './status.ts';

const height = 100;
/** Until there is more, two minutes are shown. */
const leastSteps = 24;

/** Received as an area, sent as a line, the newest at the right; the scale is told in words. */
export function renderChart({ stepSeconds, received, sent }: Series): string {
  const most = Math.max(1, ...received, ...sent);
  const width = Math.max(leastSteps, received.length - 1);
  const points = (values: readonly number[]) =>
    values
      .map((value, index) => `${width - values.length + 1 + index} ${(height - (value / most) * height).toFixed(1)}`)
      .join(' ');
  const top = formatRate(most / stepSeconds);
  const empty = received.length === 0;
  const label = empty ? 'Nothing measured yet' : `Throughput of the last hour, ${top} at most`;
  const area = empty ? '' : `M${width - received.length + 1} ${height}L${points(received)}L${width} ${height}Z`;
  return (
    `<figure><figcaption>${empty ? label : top}</figcaption>` +
    `<svg class="chart" viewBox="0 0 ${width} ${height}" preserveAspectRatio="none" role="img" aria-label="${label}">` +
    `<path class="in" d="${area}"/><path class="out" d="${sent.length < 2 ? '' : `M${points(sent)}`}"/></svg>` +
    `<p class="axis"><span>${formatSeconds(width * stepSeconds)} ago</span><span>now</span></p></figure>`
  );
}

/** An hour in 60 bars, without scale or words: the table beside it has the numbers. */
export function renderSparkline(values: readonly number[]): string {
  const most = Math.max(...values, 0);
  if (most === 0) return '';
  const first = 60 - values.length;
  const bars = values.map((value, index) =>
    value === 0 ? '' : `M${first + index}.5 16V${(15 - (value / most) * 15).toFixed(1)}`,
  );
  return `<svg class="spark" viewBox="0 0 60 16" preserveAspectRatio="none" aria-hidden="true"><path d="${bars.join('')}"/></svg>`;
}
