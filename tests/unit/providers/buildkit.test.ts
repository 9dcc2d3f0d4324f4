import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createRedactor } from '../../../src/effects/redact.ts';
import { createBuildKitDaemonBuilder } from '../../../src/providers/builders/buildkit-daemon.ts';
import { type BuildKitLog, createBuildKitLog } from '../../../src/providers/builders/buildkit-log.ts';
import { foreignBases } from '../../../src/providers/builders/dockerfile.ts';
import { createForeignRegistry } from '../../../src/providers/registries/foreign.ts';
import { createOciRegistry } from '../../../src/providers/registries/oci.ts';

interface Heard {
  readonly log: BuildKitLog;
  readonly text: () => string;
}

function listen(secrets: readonly string[] = [], place?: string): Heard {
  let text = '';
  const log = createBuildKitLog((more) => (text += more), createRedactor(secrets), place);
  return { log, text: () => text };
}

const started = '2026-11-26T00:00:00Z';
const vertex = (digest: string, name: string, more: object = {}): string =>
  `${JSON.stringify({ vertexes: [{ digest, name, started, ...more }] })}\n`;
const output = (digest: string, data: string): string =>
  `${JSON.stringify({ logs: [{ vertex: digest, stream: 1, data: Buffer.from(data).toString('base64') }] })}\n`;

function hear({ log }: Heard, ...lines: readonly string[]): void {
  for (const line of lines) log.push(Buffer.from(line));
  log.end();
}

describe('what BuildKit tells of a build', () => {
  test('becomes lines, each with the number of its step, whatever the pieces it comes in', () => {
    const text = [
      vertex('a', '[1/2] FROM base'),
      vertex('a', '[1/2] FROM base', { completed: started, cached: true }),
      vertex('b', '[linux/arm64 2/2] RUN make'),
      output('b', 'one\ntw'),
      output('b', 'o é\nthree'),
      vertex('b', '[linux/arm64 2/2] RUN make', { completed: started }),
    ].join('');
    const heard = listen();
    for (const byte of Buffer.from(text)) heard.log.push(Buffer.from([byte]));
    heard.log.end();
    expect(heard.text().split('\n')).toEqual([
      ...['#1 [1/2] FROM base', '#1 CACHED', '#2 [linux/arm64 2/2] RUN make', '#2 one', '#2 two é', '#2 three', ''],
    ]);
    expect(heard.log.error()).toBeUndefined();
  });

  test('hides secrets, which come in base64', () => {
    const secret = 'hunter2-hunter2';
    const heard = listen([secret]);
    hear(heard, vertex('a', `RUN login ${secret}`), output('a', `it is hunter2-`), output('a', 'hunter2, said\n'));
    expect(heard.text()).toBe('#1 RUN login ***\n#1 it is ***, said\n');
    const failing = listen([secret]);
    hear(
      failing,
      vertex('a', 'RUN x'),
      output('a', `${secret}\n`),
      vertex('a', 'RUN x', { completed: started, error: secret }),
    );
    hear(failing, `ERROR: failed to solve: ${secret}\n`);
    expect(failing.text()).not.toContain(secret);
    expect(failing.log.lastLines(9)).toEqual(['***', 'ERROR: failed to solve: ***']);
    expect(failing.log.error()).toBe('failed to solve: ***');
  });

  test('ends with the output of the step that failed, not of those that were called off for it', () => {
    const heard = listen();
    hear(
      heard,
      vertex('a', 'RUN one'),
      vertex('b', 'RUN two'),
      output('a', 'fine\n'),
      output('b', 'no such file\n'),
      vertex('a', 'RUN one', { completed: started, error: 'context canceled' }),
      vertex('b', 'RUN two', { completed: started, error: 'exit code: 2' }),
      'Dockerfile:3\n',
      '   3 | >>> RUN two\n',
      'ERROR: failed to solve: exit code: 2',
    );
    expect(heard.log.error()).toBe('failed to solve: exit code: 2');
    const [first, second] = heard.log.lastLines(20);
    expect([first, second]).toEqual(['no such file', 'Dockerfile:3']);
    expect(heard.log.lastLines(1)).toEqual(['ERROR: failed to solve: exit code: 2']);
  });

  test('does not take the words of a step for those of the build', () => {
    const heard = listen();
    hear(heard, vertex('a', 'RUN x'), output('a', 'ERROR: rpc error: code = Unavailable\n'));
    expect(heard.log.error()).toBeUndefined();
  });

  test('warns of caches, which fail nothing', () => {
    const heard = listen([], 'r.io/c:x');
    hear(
      heard,
      vertex('a', 'importing cache manifest from r.io/c:y', { completed: started, error: 'refused' }),
      vertex('b', 'exporting cache to registry', { completed: started, error: 'denied' }),
    );
    expect(heard.log.warnings).toEqual([
      'the cache r.io/c:y could not be read: refused',
      'the cache r.io/c:x could not be written: denied',
    ]);
    expect(heard.log.lastLines(9)).toEqual([]);
  });

  test('knows a daemon that was never there', () => {
    const heard = listen();
    hear(heard, vertex('a', '[internal] waiting for connection', { completed: started, error: 'deadline' }));
    expect(heard.log.unconnected).toBe(true);
  });

  test('passes over a line that has no end, and goes on behind it', () => {
    const heard = listen();
    const piece = Buffer.alloc(1024 * 1024, 'x');
    for (let index = 0; index < 20; index += 1) heard.log.push(piece);
    hear(heard, '\n', vertex('a', 'RUN on'));
    expect(heard.text()).toBe('#1 RUN on\n');
  });

  test('tells a line of output without an end in pieces', () => {
    const heard = listen();
    hear(heard, vertex('a', 'RUN x'), ...Array.from({ length: 5 }, () => output('a', 'y'.repeat(60_000))));
    expect(heard.text().split('\n').length).toBeGreaterThan(3);
    expect(heard.text().replaceAll(/[^y]/g, '')).toHaveLength(300_000);
  });
});

describe('bases that may be for another platform', () => {
  test.each<[string, string, string[]]>([
    ['one that says its platform', 'FROM --platform=$BUILDPLATFORM go:1 AS b\nFROM a\nCOPY --from=b /x /x', ['go:1']],
    ['one whose files are taken', 'FROM a\nCOPY --from=tools:1 /x /x', ['tools:1']],
    ['but not where it is built upon as well', 'FROM --platform=linux/amd64 a AS b\nFROM a\nCOPY --from=a /x /x', []],
  ])('%s', (_, dockerfile, expected) => {
    expect(foreignBases(dockerfile, {})).toEqual(expected);
  });
});

describe('bases of a Dockerfile', () => {
  const config = JSON.stringify({ os: 'linux', architecture: 'amd64' });
  const digestOf = (text: string): string => `sha256:${createHash('sha256').update(text).digest('hex')}`;
  const manifest = JSON.stringify({ config: { digest: digestOf(config), size: config.length }, layers: [] });
  const basic = `Basic ${Buffer.from('ada:hunter2').toString('base64')}`;
  /** With a login, and without one; each of them the only one on its machine. */
  let servers: Server[];
  let asked: (string | undefined)[];
  let own: string;
  let other: string;

  async function serve(login: string | undefined): Promise<string> {
    const server = createServer(({ url = '', headers: { authorization } }, response) => {
      asked.push(authorization);
      if (login !== undefined && authorization !== login && url.includes('/private/'))
        response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end('the secret of the registry');
      else response.writeHead(200).end(url.includes('/blobs/') ? config : manifest);
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  beforeEach(async () => {
    [servers, asked] = [[], []];
    [own, other] = [await serve(basic), await serve(undefined)];
  });
  afterEach(async () => {
    for (const server of servers) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  });

  function resolve(reference: string, more: { readonly untrusted?: boolean; readonly named?: string } = {}) {
    const builder = createBuildKitDaemonBuilder({
      daemon: { address: 'unix:///nowhere' },
      folder: '/nowhere',
      registry: {
        ...{ address: own, insecure: true },
        credentials: { address: own, username: 'ada', password: 'hunter2' },
      },
      openRegistry: createOciRegistry,
      openForeign: (address) =>
        createForeignRegistry({
          address,
          insecure: true,
          isKnown: (origin) => origin === `http://${more.named ?? ''}`,
        }),
      program: () => Promise.reject(new Error('nothing is built here')),
    });
    const { signal } = new AbortController();
    const { untrusted = false } = more;
    const progress = { output: () => undefined, moved: () => undefined, signal };
    return builder.resolve([reference], { ...progress, untrusted, platforms: ['linux/amd64'] });
  }

  test('that are in the registry of the project are asked for with its login', async () => {
    const reference = `${own}/private/base:1`;
    expect(await resolve(reference)).toEqual({ [reference]: digestOf(manifest) });
    expect(asked).toContain(basic);
  });

  test('of a fork are asked for there as by anybody, so what is private is not to be had', async () => {
    await expect(resolve(`${own}/private/base:1`, { untrusted: true })).rejects.toMatchObject({
      type: 'BuildFailed',
      message: expect.not.stringContaining('the secret of the registry'),
    });
    const open = `${own}/open/base:1`;
    expect(await resolve(open, { untrusted: true })).toEqual({ [open]: digestOf(manifest) });
    expect(asked.every((authorization) => authorization === undefined)).toBe(true);
  });

  test('of a fork are not asked for on this machine, unless the project names the registry', async () => {
    const reference = `${other}/open/base:1`;
    await expect(resolve(reference, { untrusted: true })).rejects.toMatchObject({ type: 'BuildFailed' });
    expect(asked).toEqual([]);
    expect(await resolve(reference)).toEqual({ [reference]: digestOf(manifest) });
    expect(await resolve(reference, { untrusted: true, named: other })).toEqual({ [reference]: digestOf(manifest) });
  });

  test.each(['registry.example:99999/base:1', 'a b.c/base:1'])(
    'of a fork at %j are not to be had',
    async (reference) => {
      await expect(resolve(reference, { untrusted: true })).rejects.toMatchObject({ type: 'BuildFailed' });
    },
  );
});
