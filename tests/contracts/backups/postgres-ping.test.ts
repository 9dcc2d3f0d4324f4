import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type AddressInfo, type Socket, createServer } from 'node:net';
import { pingPostgres } from '../../../src/providers/backups/postgres-ping.ts';
import { type ApplicationDatabase, createApplicationDatabase } from '../../support/application-database.ts';
import { until } from '../../support/until.ts';

describe('whether a database answers', () => {
  let database: ApplicationDatabase;

  beforeAll(async () => {
    database = await createApplicationDatabase();
  }, 60_000);
  afterAll(async () => {
    await database.drop();
  });

  const ping = (url: string) => pingPostgres(url, 'database of hello/production');

  test('is asked without leaving a connection behind', async () => {
    await ping(database.url);
    await until(
      async () =>
        (await database.query(`select 1 from pg_stat_activity where application_name = 'slipway watch'`)).length === 0,
    );
  });

  test.each([
    ['is away', (url: URL): void => void (url.port = '1'), 'DatabaseUnreachable'],
    ['refuses', (url: URL): void => void (url.password = 'wrong-password'), 'DatabaseRefused'],
    ['is not there', (url: URL): void => void (url.pathname = '/nothing'), 'DatabaseRefused'],
  ] as const)('a server that %s is told by its type, without the password', async (_, change, type) => {
    const url = new URL(database.url);
    change(url);
    const error: unknown = await ping(url.href).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ type, message: expect.stringContaining('database of hello/production') });
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain(url.password);
  });

  test('a server that accepts and then says nothing is given up in time', async () => {
    const open: Socket[] = [];
    const silent = createServer((socket) => {
      open.push(socket);
      // Unread, its end would not be seen.
      socket.on('error', () => undefined).resume();
    });
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const { port } = silent.address() as AddressInfo;
    await expect(ping(`postgres://ada@127.0.0.1:${port}/hello`)).rejects.toMatchObject({ type: 'DatabaseUnreachable' });
    await until(() => open.length > 0 && open.every((socket) => socket.destroyed));
    silent.close();
  }, 10_000);

  test('a database whose every connection is taken counts as one that does not answer', async () => {
    await database.query(`alter database ${database.name} connection limit 0`);
    await expect(ping(database.url)).rejects.toMatchObject({ type: 'DatabaseUnreachable' });
  });
});
