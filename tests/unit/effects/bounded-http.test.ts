import { type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import {
  type BoundedHttp,
  type Lookup,
  createBoundedHttp,
  isPublicAddress,
} from '../../../src/effects/bounded-http.ts';

let server: Server;
let url: string;
let asked: { readonly path: string; readonly authorization: string | undefined }[];
let answer: (
  path: string,
) =>
  { readonly status: number; readonly headers?: Record<string, string>; readonly body?: string | Buffer } | undefined;

beforeEach(async () => {
  asked = [];
  answer = () => ({ status: 200, body: 'well' });
  server = createServer((request, response) => {
    asked.push({ path: request.url ?? '', authorization: request.headers.authorization });
    const { status, headers, body } = answer(request.url ?? '') ?? {};
    if (status !== undefined) response.writeHead(status, headers).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const known = (lookup?: Lookup): BoundedHttp =>
  createBoundedHttp({ isKnown: (origin) => origin === url, ...(lookup === undefined ? {} : { lookup }) });
const ask = (path: string, rest: { readonly mostBytes?: number; readonly timeoutMs?: number } = {}, http = known()) =>
  http.ask({
    url: new URL(path, url),
    headers: { authorization: 'Bearer x' },
    mostBytes: 1_000,
    timeoutMs: 5_000,
    ...rest,
  });

test.each([
  ['8.8.8.8', true],
  ['2606:4700::1111', true],
  ...[
    '127.0.0.1',
    '10.1.2.3',
    '172.16.0.1',
    '192.168.1.1',
    '169.254.169.254',
    '100.64.0.1',
    '0.0.0.0',
    '224.0.0.1',
  ].map((each) => [each, false] as const),
  ...['::1', '::', 'fe80::1', 'fd00::1', '::ffff:127.0.0.1', '64:ff9b::7f00:1', '2002:7f00:1::', 'localhost', ''].map(
    (each) => [each, false] as const,
  ),
] as const)('%s is public: %s', (address, expected) => {
  expect(isPublicAddress(address)).toBe(expected);
});

describe('an origin that an operator has named', () => {
  test('may be this machine, and is answered', async () => {
    const { status, body } = await ask('/x');
    expect([status, body.toString()]).toEqual([200, 'well']);
    expect(asked).toEqual([{ path: '/x', authorization: 'Bearer x' }]);
  });

  test('is followed within itself, three times', async () => {
    answer = (path) =>
      path === '/3'
        ? { status: 200, body: 'there' }
        : { status: 302, headers: { location: `/${Number(path.slice(1)) + 1}` } };
    expect((await ask('/0')).body.toString()).toBe('there');
    answer = (path) => ({ status: 302, headers: { location: `/${Number(path.slice(1)) + 1}` } });
    await expect(ask('/0')).rejects.toMatchObject({
      kind: 'refused',
      message: expect.stringContaining('redirects more than 3'),
    });
  });

  test.each([
    ['http://127.0.0.1:8443/x', 'without TLS'],
    ['https://127.0.0.1:8443/x', 'private network'],
    ['https://[::1]:8443/x', 'private network'],
    ['https://localhost:8443/x', 'private network'],
    ['https://169.254.169.254/latest/meta-data', 'private network'],
    ['https://user:secret@example.com/', 'holds a password'],
    ['file:///etc/passwd', 'without TLS'],
  ])('may not send on to %s', async (location, why) => {
    answer = () => ({ status: 302, headers: { location } });
    await expect(ask('/')).rejects.toMatchObject({ kind: 'refused', message: expect.stringContaining(why) });
  });

  test('gives no more than was asked for, unpacked or not', async () => {
    answer = () => ({ status: 200, body: Buffer.alloc(2_000) });
    await expect(ask('/')).rejects.toMatchObject({
      kind: 'refused',
      message: expect.stringContaining('more than 1000 bytes'),
    });
    const { gzipSync } = await import('node:zlib');
    answer = () => ({ status: 200, headers: { 'content-encoding': 'gzip' }, body: gzipSync(Buffer.alloc(1_000_000)) });
    await expect(ask('/')).rejects.toMatchObject({
      kind: 'refused',
      message: expect.stringContaining('more than 1000 bytes'),
    });
  });

  test('that says nothing is not waited for', async () => {
    answer = () => undefined;
    await expect(ask('/', { timeoutMs: 100 })).rejects.toMatchObject({
      kind: 'unreachable',
      message: expect.stringContaining('within 0.1 s'),
    });
  });
});

test('a name that means this machine is refused, whatever it meant a moment before', async () => {
  const names: string[] = [];
  const lookup: Lookup = (name, _options, done) => {
    names.push(name);
    done(null, [
      { address: '8.8.8.8', family: 4 },
      { address: '127.0.0.1', family: 4 },
    ]);
  };
  const http = createBoundedHttp({ isKnown: () => false, lookup });
  const request = {
    url: new URL(url.replace('http:', 'https:').replace('127.0.0.1', 'registry.example')),
    mostBytes: 10,
    timeoutMs: 5_000,
  };
  await expect(http.ask(request)).rejects.toMatchObject({
    kind: 'refused',
    message: expect.stringContaining('registry.example is at an address'),
  });
  expect(names).toEqual(['registry.example']);
  expect(asked).toEqual([]);
});

test('a foreign server is connected to where it was looked up, and nothing is given to it that was meant for another', async () => {
  // A public address that nobody answers at is enough: what is asked for is what counts.
  const http = createBoundedHttp({
    isKnown: () => false,
    lookup: (_name, _options, done) => done(new Error('no such name'), []),
  });
  await expect(
    http.ask({ url: new URL('https://registry.example/'), mostBytes: 10, timeoutMs: 5_000 }),
  ).rejects.toMatchObject({ kind: 'unreachable' });
});

test('an abort is the reason that it was given', async () => {
  answer = () => undefined;
  const abort = new AbortController();
  const asking = known().ask({ url: new URL('/', url), mostBytes: 10, timeoutMs: 60_000, signal: abort.signal });
  abort.abort(new Error('enough'));
  await expect(asking).rejects.toThrow('enough');
});
