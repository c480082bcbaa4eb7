import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { renderMetrics } from '../health/metrics.ts';
import { renderPage } from '../health/page.ts';
import type { HealthReport } from '../health/report.ts';
import type { Status } from '../health/status.ts';
import { type HttpAnswer, type HttpRequest, json } from '../system/http.ts';
import type { RouterObserver } from './router-observer.ts';

/** What each path shows; everything is read only. Control answers for itself. */
export function createAnswers({
  health,
  observer,
  control,
}: {
  readonly health: () => HealthReport;
  readonly observer: RouterObserver;
  /** What answers below /control/; absent: there is no such path. */
  readonly control?: (request: HttpRequest) => Promise<HttpAnswer>;
}): (request: HttpRequest) => HttpAnswer | Promise<HttpAnswer> {
  const [toJson, toMetrics, toPage] = [onceEach(renderJson), onceEach(renderMetrics), onceEach(renderPage)];
  const shown: Readonly<Record<string, () => HttpAnswer | Promise<HttpAnswer>>> = {
    '/healthz': () => {
      const report = health();
      return json(report.healthy ? 200 : 503, report);
    },
    '/readyz': () => {
      const report = health();
      return json(report.ready ? 200 : 503, report);
    },
    '/status': () => text('application/json', toJson(observer.status())),
    '/metrics': () => text('text/plain; version=0.0.4; charset=utf-8', toMetrics(observer.status())),
    '/': () => {
      observer.examine();
      return text('text/html; charset=utf-8', toPage(observer.status()));
    },
    '/page.js': asset('page.js', 'text/javascript; charset=utf-8'),
    '/page.css': asset('page.css', 'text/css; charset=utf-8'),
    '/icon.svg': asset('icon.svg', 'image/svg+xml'),
    '/events': () => {
      observer.examine();
      return { kind: 'stream', open: observer.watch };
    },
  };
  return (request) => {
    if (control !== undefined && request.path.startsWith('/control/')) return control(request);
    const show = Object.hasOwn(shown, request.path) ? shown[request.path] : undefined;
    if (show === undefined) return json(404, { problem: 'there is nothing at this path' });
    if (request.method === 'GET' || (request.method === 'HEAD' && request.path !== '/events')) return show();
    return { ...json(405, { problem: 'this path is only read' }), headers: { allow: 'GET, HEAD' } };
  };
}

type Render = (status: Status) => string;

function renderJson(status: Status): string {
  return `${JSON.stringify(status)}\n`;
}

/** Renders a status again only when it is another one. */
function onceEach(render: Render): Render {
  let last: Status | undefined;
  let rendered = '';
  return (status) => {
    if (status !== last) rendered = render(status);
    last = status;
    return rendered;
  };
}

function text(type: string, body: string | Buffer): HttpAnswer {
  return { kind: 'body', status: 200, type, body };
}

/** A file that lies beside the program; read each time, because nobody looks often. */
function asset(name: string, type: string): () => Promise<HttpAnswer> {
  return async () => text(type, await readFile(join(dirname(process.argv[1] ?? ''), name)));
}
