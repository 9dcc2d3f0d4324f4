import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { type IncomingMessage, type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { verify } from '@octokit/webhooks-methods';
import { createForge } from '../../../examples/demo/forge.ts';
import { startLoad } from '../../../examples/demo/load.ts';
import { makeStoryRepository } from '../../../examples/demo/repository.ts';
import { until } from '../../support/until.ts';

let folder: string;
let server: Server | undefined;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-props-'));
});
afterEach(async () => {
  server?.closeAllConnections();
  await new Promise((resolve) => (server === undefined ? resolve(undefined) : server.close(resolve)));
  server = undefined;
  await rm(folder, { recursive: true, force: true });
});

async function serve(handler: (request: IncomingMessage, body: string) => { status: number; version?: string }) {
  server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      const { status, version } = handler(request, body);
      response.writeHead(status, version === undefined ? {} : { 'x-version': version }).end('{}');
    });
  });
  await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

describe('the repository of the story', () => {
  test('a push says where the branch was and where it is, and the bare repository has it', async () => {
    const repository = await makeStoryRepository(join(folder, 'made'), { 'marker.txt': 'first' });
    const first = await repository.commit({ branch: 'develop', subject: 'feat: begin' });
    const second = await repository.commit({
      branch: 'develop',
      subject: 'fix: go on',
      files: { 'marker.txt': 'second' },
    });
    const promoted = await repository.promote('develop', 'main');

    expect(first.before).toBe('0'.repeat(40));
    expect(second).toMatchObject({
      ref: 'refs/heads/develop',
      before: first.after,
      subject: 'fix: go on',
      author: 'linus',
    });
    expect(promoted).toMatchObject({ ref: 'refs/heads/main', before: '0'.repeat(40), after: second.after });
    const show = (path: string) =>
      execFileSync('git', ['-C', repository.bareFolder, 'show', `main:${path}`]).toString();
    expect(show('marker.txt')).toBe('second');
    expect(show('node_modules/pg/package.json')).toContain('"name": "pg"');
    expect(show('node_modules/split2/package.json')).toContain('"name": "split2"');
  });
});

describe('the forge of the story', () => {
  test('signs what it sends as GitHub does, and delivers again until somebody answers', async () => {
    const seen: { signature: string; body: string; event: unknown; delivery: unknown }[] = [];
    const api = await serve((request, body) => {
      seen.push({
        signature: String(request.headers['x-hub-signature-256']),
        body,
        event: request.headers['x-github-event'],
        delivery: request.headers['x-github-delivery'],
      });
      return { status: 202 };
    });
    const forge = createForge({ api, project: 'hello', secret: 's3cret', cloneUrl: 'file:///nowhere' });
    const pushed = {
      ref: 'refs/heads/main',
      before: '1'.repeat(40),
      after: '2'.repeat(40),
      subject: 'x',
      author: 'linus',
    };
    const delivered = await forge.push(pushed);

    expect(delivered.status).toBe(202);
    expect(seen).toHaveLength(1);
    expect(await verify('s3cret', seen[0]!.body, seen[0]!.signature)).toBe(true);
    expect(seen[0]).toMatchObject({ event: 'push', delivery: delivered.deliveryId });
    expect(JSON.parse(seen[0]!.body)).toMatchObject({
      ref: pushed.ref,
      after: pushed.after,
      head_commit: { id: pushed.after },
    });
  });
});

describe('the load of the story', () => {
  test('counts failures by cause, versions by answer, and what came from the wrong one', async () => {
    let version = '1';
    let answered = 0;
    const url = await serve((request) => {
      answered += 1;
      if (version === '2' && request.url === '/') return { status: 503, version };
      return { status: request.method === 'POST' ? 201 : 200, version };
    });
    const load = startLoad({ url, ratePerS: 200 });
    await until(() => answered >= 40);
    version = '2';
    await until(() => load.firstAnswerOf('2') !== undefined);
    const movedMs = load.firstAnswerOf('2')!;
    const before = answered;
    await until(() => answered >= before + 80);
    const report = await load.stop();

    expect(report.requests).toBe(answered);
    expect(report.versions['1']! + report.versions['2']!).toBe(answered);
    expect(report.failed).toBe(report.failures['503']);
    expect(report.failed).toBeGreaterThanOrEqual(10);
    expect(report.notesKept).toBeGreaterThanOrEqual(30);
    expect(load.wrongVersion('2', movedMs)).toBe(0);
    expect(load.wrongVersion('1', movedMs)).toBeGreaterThanOrEqual(50);
  });

  test('holds back what would wait too long in line, and makes up for none of it', async () => {
    let open: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => (open = resolve));
    server = createServer((_, response) => void gate.then(() => response.writeHead(200).end()));
    await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve));
    const load = startLoad({
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      ratePerS: 500,
      maxInFlight: 5,
    });
    const beganMs = Date.now();
    await until(() => Date.now() - beganMs > 200);
    expect(load.report().requests).toBe(5);
    open();
    const report = await load.stop();
    expect(report.failed).toBe(0);
    expect((await load.stop()).requests).toBe(report.requests);
  });

  test('is sent to this machine only', () => {
    expect(() => startLoad({ url: 'http://example.com/' })).toThrow(/not this machine/);
  });
});
