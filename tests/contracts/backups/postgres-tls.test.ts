import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, type Server, type Socket, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { ProviderError } from '../../../src/domain/failures.ts';
import { describeServer } from '../../../src/providers/backups/postgres-connection.ts';
import { type ApplicationDatabase, createApplicationDatabase } from '../../support/application-database.ts';

/** What PostgreSQL's clients send before they begin with TLS. */
const sslRequest = 80_877_103;
let folder: string;
let database: ApplicationDatabase;
let front: Server;
const sockets = new Set<Socket>();

/** An authority and a certificate of it for `localhost`, and a second authority that has signed nothing. */
function makeCertificates(): void {
  const openssl = (...args: readonly string[]): unknown =>
    execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
  for (const name of ['ca', 'other']) {
    openssl(
      ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', `/CN=${name} of a test`],
      ...['-keyout', `${name}.key`, '-out', `${name}.pem`],
    );
  }
  openssl(
    'req',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-subj',
    '/CN=localhost',
    '-keyout',
    'server.key',
    '-out',
    'server.csr',
  );
  writeFileSync(join(folder, 'names'), 'subjectAltName=DNS:localhost\n');
  openssl(
    ...['x509', '-req', '-in', 'server.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2'],
    ...['-extfile', 'names', '-out', 'server.pem'],
  );
}

/** Where the programs are those in the server's container (`src/local/application-postgres.ts`), they see the files of that. */
function bringTo(clientBin: string): void {
  const wrapper = readFileSync(join(clientBin, 'pg_dump'), 'latin1');
  const way = /^#!\/bin\/sh\nexec '([^']+)' --host '([^']+)' exec .* '([^']+)' pg_dump /.exec(wrapper);
  if (way === null) return;
  const [, docker = '', engine = '', container = ''] = way;
  execFileSync(docker, ['--host', engine, 'cp', folder, `${container}:${folder}`], { stdio: 'pipe' });
}

/** TLS before the real server, which has none itself: what libpq and the driver agree on is what a server with TLS would see. */
async function listen(to: URL): Promise<Server> {
  const [key, cert] = [readFileSync(join(folder, 'server.key')), readFileSync(join(folder, 'server.pem'))];
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('data', (first) => {
      if (first.readUInt32BE(4) !== sslRequest) {
        socket.destroy();
        return;
      }
      socket.write('S');
      const inner = new TLSSocket(socket, { isServer: true, key, cert });
      const outer = connect(Number(to.port), to.hostname);
      sockets.add(outer);
      inner.on('error', () => outer.destroy());
      outer.on('error', () => inner.destroy());
      inner.pipe(outer).pipe(inner);
    });
  });
  server.listen(0, 'localhost');
  await once(server, 'listening');
  return server;
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'slipway-tls-'));
  makeCertificates();
  database = await createApplicationDatabase();
  await database.query('create table pairs (key text primary key)');
  bringTo(database.clientBin);
  front = await listen(new URL(database.url));
}, 120_000);

afterAll(async () => {
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => front.close(resolve));
  await database.drop();
  rmSync(folder, { recursive: true });
}, 120_000);

interface Told {
  readonly driver: string;
  readonly program: string;
}

/** What becomes of a connection of the driver and of one of `pg_dump`, with such parameters: `well`, or what it says. */
async function tell(query: string): Promise<Told> {
  const url = new URL(database.url);
  url.hostname = 'localhost';
  url.port = String((front.address() as AddressInfo).port);
  url.search = query.replaceAll('%FOLDER', folder);
  const server = describeServer({ url: url.href, clientBin: database.clientBin });
  const said = async (work: Promise<unknown>): Promise<string> =>
    await work.then(
      () => 'well',
      (error: unknown) => `${(error as ProviderError).type}: ${(error as Error).message}`,
    );
  return {
    driver: await said(server.connected(database.name, 'BackupFailed', (client) => client.query('select 1'))),
    program: await said(server.run('pg_dump', ['--schema-only'], database.name, { otherwise: 'BackupFailed' })),
  };
}

describe('by what a connection URL says of TLS, driver and programs verify the same', () => {
  test.each([
    'sslmode=verify-full&sslrootcert=%FOLDER/ca.pem',
    'sslmode=require&sslrootcert=%FOLDER/ca.pem',
    'sslmode=require&uselibpqcompat=true',
    'sslmode=no-verify',
    // Libpq alone would verify by the file, and fail.
    'sslmode=no-verify&sslrootcert=%FOLDER/other.pem',
  ])('%s: both connect', async (query) => {
    expect(await tell(query)).toEqual({ driver: 'well', program: 'well' });
  });

  test.each([
    ['sslmode=verify-full&sslrootcert=%FOLDER/other.pem', /certificate/i],
    ['sslmode=verify-ca&uselibpqcompat=true&sslrootcert=%FOLDER/other.pem', /certificate/i],
    // By libpq alone `require` verifies nothing; the authorities of this machine have not signed it.
    ['sslmode=require', /certificate/i],
    ['sslmode=verify-full&sslrootcert=system', /certificate/i],
    [
      'sslmode=verify-full&sslrootcert=%FOLDER/none.pem',
      /`sslrootcert` in .* cannot be read by this worker \(ENOENT\)/,
    ],
    ['sslmode=verify-full&statement_timeout=5', /has `statement_timeout`/],
  ])('%s: neither does', async (query, words) => {
    const { driver, program } = await tell(query);
    expect(driver).toMatch(words);
    expect(program).toMatch(words);
  });

  test('what a session is to have set, both set', async () => {
    const query = 'sslmode=no-verify&options=-c%20no_such_setting%3D1';
    const { driver, program } = await tell(query);
    expect(driver).toContain('no_such_setting');
    expect(program).toContain('no_such_setting');
  });
});
