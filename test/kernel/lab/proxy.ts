// Runs in a server's namespace: `proxy.ts http|socks ADDRESS PORT USER PASSWORD [NAME=ADDRESS …]` is a proxy (RFC 9110
// CONNECT, RFC 1928 with RFC 1929) that asks for a login, knows these names, and prints whom it connected.
import { connect, createServer, type Socket } from 'node:net';

const [kind = '', address = '', port = '', username = '', password = '', ...names] = process.argv.slice(2);
const known = new Map(names.map((name) => name.split('=') as [string, string]));

function join(client: Socket, host: string, serverPort: number, ready: () => void): void {
  const server = connect({ host: known.get(host) ?? host, port: serverPort });
  for (const socket of [client, server]) socket.on('error', () => undefined);
  server.on('connect', () => {
    process.stdout.write(`${host}:${serverPort}\n`);
    ready();
    client.pipe(server).pipe(client);
  });
  server.on('close', () => client.destroy());
  client.on('close', () => server.destroy());
}

function speakHttp(client: Socket): void {
  let request = '';
  // OpenVPN sends it line by line.
  client.on('data', function gather(data) {
    request += `${data}`;
    if (!request.includes('\r\n\r\n')) return;
    client.off('data', gather);
    const [, host = '', serverPort = ''] = /^CONNECT (\S+):(\d+) /.exec(request) ?? [];
    const login = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
    if (!request.includes(`Proxy-Authorization: ${login}\r\n`)) {
      client.end('HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="lab"\r\n\r\n');
    } else join(client, host, Number(serverPort), () => client.write('HTTP/1.0 200 Connection established\r\n\r\n'));
  });
}

function speakSocks(client: Socket): void {
  client.once('data', () => {
    client.write(Buffer.from([5, 2]));
    client.once('data', (login: Buffer) => {
      const expected = Buffer.concat([
        Buffer.from([1, username.length]),
        ...[Buffer.from(username), Buffer.from([password.length]), Buffer.from(password)],
      ]);
      if (!login.equals(expected)) return void client.end(Buffer.from([1, 1]));
      client.write(Buffer.from([1, 0]));
      client.once('data', (request: Buffer) => {
        const isName = request[3] === 3;
        const end = isName ? 5 + (request[4] ?? 0) : 8;
        const host = isName ? request.subarray(5, end).toString() : request.subarray(4, 8).join('.');
        const granted = Buffer.from([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        join(client, host, request.readUInt16BE(end), () => client.write(granted));
      });
    });
  });
}

createServer((client) => {
  client.on('error', () => undefined);
  if (kind === 'http') speakHttp(client);
  else speakSocks(client);
}).listen(Number(port), address, () => process.stdout.write('listening\n'));
