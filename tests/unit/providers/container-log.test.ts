import { type Server, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import Docker from 'dockerode';
import { followLog } from '../../../src/providers/targets/container-log.ts';
import { until } from '../../support/until.ts';

/** One line as the engine has it in the file of a container: in the order of writing, which is not that of the stamps. */
interface Written {
  readonly at: string;
  readonly stream: 'stdout' | 'stderr';
  readonly text: string;
}

/** The engine's log of one container, over HTTP as the engine gives it. */
let server: Server;
let docker: Docker;
let file: Written[];
let followers: Map<ServerResponse, number>;
/** As some versions of the engine: once a line was given, later ones are too, whatever their stamp. */
let givesAllAfterFirst: boolean;

beforeEach(async () => {
  file = [];
  followers = new Map();
  givesAllAfterFirst = false;
  server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://engine');
    expect(pathname).toBe('/containers/one/logs');
    expect(searchParams.get('timestamps')).toBe('true');
    const since = Number(searchParams.get('since'));
    response.writeHead(200, { 'content-type': 'application/vnd.docker.raw-stream' });
    response.flushHeaders();
    let given = false;
    for (const line of file) {
      if (secondsOf(line.at) < since && !(given && givesAllAfterFirst)) continue;
      given = true;
      response.write(frame(line));
    }
    if (searchParams.get('follow') !== 'true') {
      response.end();
      return;
    }
    followers.set(response, since);
    response.on('close', () => followers.delete(response));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  docker = new Docker({ host: '127.0.0.1', port: (server.address() as AddressInfo).port, protocol: 'http' });
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

function secondsOf(at: string): number {
  return Date.parse(`${at.slice(0, 19)}Z`) / 1_000 + Number(`0${at.slice(19, 29)}`);
}

function frame({ at, stream, text }: Written): Buffer {
  const body = Buffer.from(`${at} ${text}\n`);
  const head = Buffer.alloc(8);
  head[0] = stream === 'stderr' ? 2 : 1;
  head.writeUInt32BE(body.length, 4);
  return Buffer.concat([head, body]);
}

function write(...lines: Written[]): void {
  for (const line of lines) {
    file.push(line);
    for (const response of followers.keys()) response.write(frame(line));
  }
}

/** @param fraction - of the second 10, nine digits. */
function line(fraction: string, text: string, stream: Written['stream'] = 'stdout', second = 10): Written {
  return { at: `2026-11-26T08:00:${second}.${fraction}Z`, stream, text };
}

/** Reads until the end of the test. */
function read(options: { readonly present?: () => void; readonly since?: string } = {}) {
  const stop = new AbortController();
  const texts: string[] = [];
  const { since = '2026-11-26T08:00:00.000Z', present } = options;
  const done = (async () => {
    const find = () => Promise.resolve('one');
    for await (const { text } of followLog(docker, find, since, stop.signal, present)) texts.push(text);
  })();
  const end = async (): Promise<readonly string[]> => {
    stop.abort();
    await done;
    return texts;
  };
  return { texts, end };
}

async function cut(): Promise<void> {
  for (const response of followers.keys()) response.destroy();
  await until(() => followers.size === 0, { what: 'the connection to be gone' });
  await until(() => followers.size === 1, { what: 'it to ask again' });
}

describe.each([false, true])('a log whose engine gives all after the first line: %s', (all) => {
  beforeEach(() => {
    givesAllAfterFirst = all;
  });

  test('gives a line that is stamped before the one in front of it, also while it is followed', async () => {
    write(line('000000200', 'one'), line('000000100', 'FATAL two', 'stderr'));
    const { texts, end } = read();
    await until(() => texts.length === 2 && followers.size === 1, { what: 'what was there' });
    write(line('500000900', 'three'), line('500000800', 'FATAL four', 'stderr'));
    await until(() => texts.length === 4, { what: 'what came' });
    expect(await end()).toEqual(['one', 'FATAL two', 'three', 'FATAL four']);
  });

  test('gives each once through what it reads before it follows, and through a connection that breaks', async () => {
    let present = 0;
    write(line('000000200', 'one'), line('000000100', 'two', 'stderr'), line('000000200', 'three'));
    const { texts, end } = read({ present: () => (present += 1) });
    await until(() => present === 1 && followers.size === 1, { what: 'everything that was there' });
    expect(texts).toEqual(['one', 'two', 'three']);
    await cut();
    // Stamped before what was given already, and written after it.
    write(line('000000150', 'four', 'stderr'), line('000000200', 'five'), line('000000200', 'six'));
    await until(() => texts.length >= 6, { what: 'what came after the break' });
    await cut();
    write(line('000000300', 'seven'));
    await until(() => texts.includes('seven'), { what: 'the last' });
    expect(await end()).toEqual(['one', 'two', 'three', 'four', 'five', 'six', 'seven']);
  });

  test('loses none that was written while it was away, in whatever order', async () => {
    write(line('100000000', 'one'), line('900000000', 'two'));
    const { texts, end } = read();
    await until(() => texts.length === 2 && followers.size === 1, { what: 'what was there' });
    const away = [...followers.keys()];
    followers.clear();
    write(line('899999999', 'FATAL three', 'stderr'), line('950000000', 'four'), line('940000000', 'five', 'stderr'));
    for (const response of away) response.destroy();
    await until(() => texts.length >= 5, { what: 'what it missed' });
    expect(await end()).toEqual(['one', 'two', 'FATAL three', 'four', 'five']);
  });

  test('gives each once where it goes on for long', async () => {
    const { texts, end } = read();
    await until(() => followers.size === 1, { what: 'it to follow' });
    for (let second = 10; second < 40; second += 1) {
      write(line('000000200', `out ${second}`, 'stdout', second), line('000000100', `err ${second}`, 'stderr', second));
      if (second % 10 === 5) await cut();
    }
    await until(() => texts.includes('err 39'), { what: 'the last' });
    expect(await end()).toEqual(
      Array.from({ length: 30 }, (_, index) => [`out ${index + 10}`, `err ${index + 10}`]).flat(),
    );
  });

  test('gives none from before the moment it was asked for', async () => {
    write(line('000000000', 'before'), line('500000000', 'after'), line('400000000', 'before too', 'stderr'));
    const { texts, end } = read({ since: '2026-11-26T08:00:10.450Z' });
    await until(() => texts.length === 1 && followers.size === 1, { what: 'the one' });
    await cut();
    write(line('600000000', 'the last'));
    await until(() => texts.includes('the last'), { what: 'the last' });
    expect(await end()).toEqual(['after', 'the last']);
  });
});
