import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { HaproxyRouter, createHaproxyRouter } from '../../../src/providers/routers/haproxy.ts';

const processes = `#<PID>          <type>          <reloads>       <uptime>        <version>
100             master          2 [failed: 0]   0d00h00m09s     2.6.12
# workers
103             worker          0               0d00h00m01s     2.6.12
# old workers
102             worker          1               0d00h00m05s     2.6.12
# programs
`;
const stats = (sessions: number): string => `# pxname,svname,scur,status,weight,bck
shop:production,blue:1.3.0,${sessions},UP,100,0
`;

let folder: string;
let servers: Server[];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-socket-'));
  servers = [];
});
afterEach(async () => {
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  await rm(folder, { recursive: true });
});

/** Listens as a socket of HAProxy does: one command, one answer, and the end. */
async function listen(name: string, answer: (command: string) => string): Promise<string> {
  const path = join(folder, name);
  const server = createServer((socket) => {
    socket.once('data', (command) => socket.end(answer(command.toString('utf8').trim())));
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return path;
}

test('a master that hangs up while it starts itself anew is asked again: requests still finish at a worker it did not name', async () => {
  const asked: string[] = [];
  const masterSocket = await listen('master.sock', (command) => {
    asked.push(command);
    if (asked.length === 1) return '';
    return command === 'show proc' ? processes : stats(1);
  });
  const statsSocket = await listen('stats.sock', () => stats(2));
  const router = await createHaproxyRouter(
    HaproxyRouter.parse({ kind: 'haproxy', configFolder: folder, masterSocket, statsSocket, binary: '/bin/true' }),
  );
  const sessions = await router.readSessions({ project: 'shop', environment: 'production' }, 'blue');
  expect(sessions).toMatchObject({ current: 3, finishing: 1 });
  expect(asked).toEqual(['show proc', 'show proc', '@!102 show stat']);
});
