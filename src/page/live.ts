// Runs in the browser: listens to /events and renders what is new by the same code as the server.
import { type PartName, renderParts } from '../health/page.ts';
import type { Status } from '../health/status.ts';

/** Without a message for so long the page may be old; while the router runs there is one every 5 s. */
const silentMs = 12_000;

const shown = new Map<string, string>();
let status: Status | undefined;
let heardMs = performance.now();

function place(id: string): HTMLElement | null {
  return document.getElementById(id);
}

function show(next: Status, before: Status | undefined): void {
  for (const [name, html] of Object.entries(renderParts(next, before ?? next)) as [PartName, string][]) {
    const there = place(name);
    // Untouched where nothing changed: selections, scroll positions and screen readers are left in peace.
    if (there === null || shown.get(name) === html) continue;
    shown.set(name, html);
    there.innerHTML = html;
  }
  document.title = `${next.verdict.kind} · Underbridge`;
}

function tellLiveness(text: string, isLive: boolean): void {
  document.body.classList.toggle('stale', !isLive);
  const there = place('live');
  if (there !== null && there.textContent !== text) there.textContent = text;
}

function listen(): void {
  const source = new EventSource('/events');
  source.onmessage = ({ data }: MessageEvent<string>) => {
    heardMs = performance.now();
    const before = status;
    status = { ...status, ...JSON.parse(data) } as Status;
    show(status, before);
    tellLiveness('Live', true);
  };
  source.onerror = () => {
    tellLiveness('No connection to the router: what is shown is old.', false);
    // A browser gives up for good when it gets an answer that is no stream.
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 2_000);
  };
}

setInterval(() => {
  if (performance.now() - heardMs > silentMs) tellLiveness('The router says nothing: what is shown is old.', false);
}, 1_000);

const control = place('control');
if (control instanceof HTMLFormElement) {
  const section = control.closest('section');
  if (section !== null) section.hidden = false;
  control.addEventListener('submit', async (event) => {
    event.preventDefault();
    const action = event.submitter instanceof HTMLButtonElement ? event.submitter.value : '';
    const token = `${new FormData(control).get('token') ?? ''}`;
    const headers = { authorization: `Bearer ${token}` };
    const text = await fetch(`/control/${action}`, { method: 'POST', headers }).then(
      async (response) => ((await response.json()) as { readonly outcome: string }).outcome,
      () => 'no connection to the router',
    );
    const outcome = place('outcome');
    if (outcome !== null) outcome.textContent = text;
  });
}

listen();
