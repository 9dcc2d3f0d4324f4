import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from '@jest/globals';
import type { CliError } from '../../../src/cli/exit.ts';
import { type Http, createHttp } from '../../../src/cli/http.ts';

let server: Server | undefined;
afterEach(async () => {
  server?.closeAllConnections();
  await new Promise((resolve) => (server === undefined ? resolve(undefined) : server.close(resolve)));
  server = undefined;
});

async function api(handler: (request: IncomingMessage, response: ServerResponse) => void): Promise<Http> {
  server = createServer(handler);
  await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return createHttp({ url, token: 'slp_t', source: 'a test' });
}

async function refusal(work: Promise<unknown>): Promise<CliError> {
  return await work.then(
    () => Promise.reject(new Error('it was not refused')),
    (error: unknown) => error as CliError,
  );
}

describe('requests to the API', () => {
  test.each([
    [400, 'usage'],
    [403, 'not-allowed'],
    [404, 'not-found'],
    [409, 'conflict'],
    [422, 'usage'],
    [429, 'errored'],
    [500, 'errored'],
    [503, 'errored'],
  ])('status %d ends the command as %s', async (status, ending) => {
    const http = await api((_, response) => {
      const problem = {
        type: 'urn:slipway:problem:TooLate',
        title: 'Too late',
        detail: 'It is rejected. Look at its status.',
      };
      response.writeHead(status, { 'content-type': 'application/problem+json' }).end(JSON.stringify(problem));
    });
    const error = await refusal(http.get('/v1/x'));
    expect(error.ending).toBe(ending);
    expect(error.message).toBe('It is rejected. Look at its status.');
    expect(error.type).toBe('TooLate');
  });

  test('a token that is refused is said with where it came from, and how to get another', async () => {
    const http = await api((_, response) => {
      response.writeHead(401).end(JSON.stringify({ title: 'Send a token.', detail: 'This token is not valid.' }));
    });
    const error = await refusal(http.get('/v1/x'));
    expect(error.ending).toBe('not-allowed');
    expect(error.message).toBe('This token is not valid. The token came from a test.');
    expect(error.next.map(({ command }) => command)).toEqual(['slipway token create … --role …']);
  });

  test('fields that were refused are named', async () => {
    const http = await api((_, response) => {
      const errors = [{ pointer: '/ref', detail: 'must be a branch' }];
      response.writeHead(422).end(JSON.stringify({ title: 'Invalid', errors }));
    });
    expect((await refusal(http.post('/v1/x', {}))).message).toBe('Invalid\n  /ref must be a branch');
  });

  test('the token goes along, and what is undefined is left out of the query', async () => {
    const seen: (string | undefined)[] = [];
    const http = await api((request, response) => {
      seen.push(request.headers.authorization, request.url);
      response.end('{"items":[]}');
    });
    await http.get('/v1/runs', { project: 'hello', ref: undefined, limit: 5 });
    expect(seen).toEqual(['Bearer slp_t', '/v1/runs?project=hello&limit=5']);
  });

  test('an API that does not answer is errored, and the command says how to start one', async () => {
    const http = createHttp({ url: 'http://127.0.0.1:1', token: 't', source: '.slipway/cli.json' });
    const error = await refusal(http.get('/v1/runs'));
    expect(error.ending).toBe('errored');
    expect(error.message).toContain('127.0.0.1:1');
    expect(error.next[0]?.command).toBe('slipway up');
  });

  test('a stream that breaks off is gone on with behind its last event', async () => {
    const asked: (string | undefined)[] = [];
    const http = await api((request, response) => {
      asked.push(request.headers['last-event-id'] as string | undefined);
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      if (asked.length === 1) {
        response.write('id: 1\ndata: one\n\nid: 2\ndata: two\n\n', () => response.destroy());
        return;
      }
      response.end('id: 3\ndata: three\n\n');
    });
    const seen: string[] = [];
    for await (const { data } of http.stream('/v1/stream', new AbortController().signal)) seen.push(data);
    expect(seen).toEqual(['one', 'two', 'three']);
    expect(asked).toEqual([undefined, '2']);
  });

  test('a stream that is refused is not asked for again', async () => {
    let asked = 0;
    const http = await api((_, response) => {
      asked += 1;
      response.writeHead(404).end('{"title":"Not found"}');
    });
    const error = await refusal(http.stream('/v1/stream', new AbortController().signal).next());
    expect(error.ending).toBe('not-found');
    expect(asked).toBe(1);
  });
});

describe('a text', () => {
  test('that stands still is given up, and one that only takes long is not', async () => {
    server = createServer((_, response) => {
      response.write('first ');
      setTimeout(() => response.write('second '), 150);
      setTimeout(() => response.write('third '), 300);
    });
    await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const beganMs = performance.now();
    const error = await refusal(createHttp({ url, token: 't', source: 's' }, { timeoutMs: 250 }).getText('/v1/logs/x'));
    expect(error).toMatchObject({ ending: 'errored', type: 'api-unreachable' });
    expect(error.message).toContain('nothing came for 250 ms');
    expect(performance.now() - beganMs).toBeGreaterThan(500);
  });

  test('ends with the command, and so does everything else that is read', async () => {
    server = createServer((_, response) => response.writeHead(200).write('first'));
    await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const stop = new AbortController();
    const http = createHttp({ url, token: 't', source: 's' }, { stop: stop.signal });
    const ends = [refusal(http.getText('/v1/logs/x')), refusal(http.get('/v1/runs'))];
    server.once('request', () => setImmediate(() => stop.abort()));
    for (const error of await Promise.all(ends)) expect(error.ending).toBe('interrupted');
  });
});
