import { duplexPair } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  createManagementClient,
  type ManagementClient,
  type ManagementClientOptions,
  type ManagementEvent,
} from '../../../src/node-openvpn-mgmt/src/index.ts';

/** The far end of a management connection, and what the client made of it. */
export interface FakeOpenVpn {
  readonly client: ManagementClient;
  readonly events: readonly ManagementEvent[];
  /** Everything the client wrote so far. */
  written(): string;
  /** Sends lines, each ended CRLF, and waits until the client has seen them. */
  say(...lines: readonly string[]): Promise<void>;
  /** Sends bytes as they are, and waits until the client has seen them. */
  sayBytes(bytes: Uint8Array | string): Promise<void>;
  /** Ends the connection as a process that exits does. */
  hangUp(): Promise<void>;
}

/** Connects a client to a fake over an in-memory stream. */
export function connectFake({
  commandTimeoutMs = 5_000,
  ...options
}: Partial<Pick<ManagementClientOptions, 'commandTimeoutMs' | 'managementPassword'>> = {}): FakeOpenVpn {
  const [near, far] = duplexPair();
  const events: ManagementEvent[] = [];
  let written = '';
  far.on('data', (chunk: Buffer) => {
    written += chunk.toString('utf8');
  });
  const client = createManagementClient({
    duplex: near,
    commandTimeoutMs,
    onEvent: (event) => events.push(event),
    ...options,
  });

  async function sayBytes(bytes: Uint8Array | string): Promise<void> {
    far.write(bytes);
    await settle();
  }

  return {
    client,
    events,
    written: () => written,
    sayBytes,
    say: (...lines) => sayBytes(lines.map((line) => `${line}\r\n`).join('')),
    hangUp: async () => {
      far.end();
      await settle();
    },
  };
}

/** Lets the in-memory stream deliver what was written. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 4; turn += 1) await nextTurn();
}
