import { formatRate } from './format.ts';
import type { Series } from './status.ts';

const [width, height] = [360, 100] as const;
const lastHour = 360;

/** Received as an area, sent as a line, the newest at the right; the scale is told in words. */
export function renderChart({ stepSeconds, received, sent }: Series): string {
  const most = Math.max(1, ...received, ...sent);
  const top = formatRate(most / stepSeconds);
  const empty = received.length === 0;
  const label = empty ? 'Nothing measured yet' : `Throughput of the last hour, ${top} at most`;
  const area = empty ? '' : `M${width - received.length + 1} ${height}L${points(received, most)}L${width} ${height}Z`;
  return (
    `<figure><figcaption>${empty ? label : top}</figcaption>` +
    `<svg class="chart" viewBox="0 0 ${width} ${height}" preserveAspectRatio="none" role="img" aria-label="${label}">` +
    `<path class="in" d="${area}"/><path class="out" d="${sent.length < 2 ? '' : `M${points(sent, most)}`}"/></svg>` +
    '<p class="axis"><span>1 h ago</span><span>now</span></p></figure>'
  );
}

/** One point for each value, a unit apart, ending at the right edge. */
function points(values: readonly number[], most: number): string {
  const first = lastHour - values.length + 1;
  return values.map((value, index) => `${first + index} ${(height - (value / most) * height).toFixed(1)}`).join(' ');
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
