import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Has a server of OpenVPN 2.7 change options of its clients' tunnels, by its management socket. */
export async function pushUpdate(managementSocket: string, options: string): Promise<void> {
  const socket = connect(managementSocket);
  let said = '';
  socket.on('data', (data) => {
    said += data;
  });
  socket.write(`push-update-broad "${options}"\n`);
  for (let waitedMs = 0; !/^SUCCESS: push-update/m.test(said); waitedMs += 10) {
    if (waitedMs >= 2_000) throw new Error(`no update was sent: ${said}`);
    await sleep(10);
  }
  socket.destroy();
}
