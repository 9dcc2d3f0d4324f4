import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createParser } from 'eventsource-parser';
import { createLogWriter } from '../../../src/effects/log-writer.ts';
import { applyFacts } from '../../../src/store/facts.ts';
import { openDeployment } from '../../../src/store/deployments.ts';
import { type LogOwner, logId } from '../../../src/store/logs.ts';
import { type TestApi, startTestApi } from '../../support/api.ts';
import { until } from '../../support/until.ts';

let api: TestApi;
let address: string;
let token: string;
beforeAll(async () => {
  api = await startTestApi();
  await api.addProject('hello');
  token = await api.token('viewer');
  address = await api.app.listen({ port: 0, host: '127.0.0.1' });
}, 180_000);
afterAll(async () => {
  await api.close();
});

interface Seen {
  readonly id: string;
  readonly data: unknown;
}

/** Reads a stream into a list until it ends or is cut. */
function follow(path: string, lastId?: string) {
  const seen: Seen[] = [];
  const cut = new AbortController();
  const ended = (async () => {
    const response = await fetch(`${address}${path}`, {
      headers: {
        authorization: `Bearer ${token}`,
        accept: 'text/event-stream',
        ...(lastId === undefined ? {} : { 'last-event-id': lastId }),
      },
      signal: cut.signal,
    });
    const parser = createParser({
      onEvent: ({ id, data }) => seen.push({ id: id ?? '', data: JSON.parse(data) as unknown }),
    });
    const decoder = new TextDecoder();
    for await (const chunk of response.body ?? []) parser.feed(decoder.decode(chunk, { stream: true }));
    return response.status;
  })().catch((error: unknown) => {
    if (!cut.signal.aborted) throw error;
    return 0;
  });
  return { seen, ended, cut: () => cut.abort(), text: () => seen.map((each) => String(each.data)).join('') };
}

let logs = 0;
function writeLog() {
  logs += 1;
  const owner: LogOwner = { project: 'hello', run: logs, stage: 'tests', step: 'unit', attempt: 1 };
  const log = logId(owner);
  const writer = createLogWriter({
    log,
    files: api.logs,
    maxSegmentBytes: 1_000,
    maxSegmentAgeMs: 20,
    onSegment: async (segment) => {
      const key = `${log}/${segment.sequence}`;
      await applyFacts(api.store.db, [{ key, fact: { kind: 'log-segment', owner, segment } }]);
    },
  });
  return {
    log,
    write: (text: string | Buffer) => writer.write(Buffer.from(text)),
    async close() {
      const { sizeBytes, blob } = await writer.close();
      const at = new Date().toISOString();
      const end = { at, sizeBytes, ...(blob === undefined ? {} : { blob }) };
      await applyFacts(api.store.db, [{ key: `${log}/closed`, fact: { kind: 'log-closed', owner, ...end } }]);
    },
  };
}

async function get(path: string, headers: Readonly<Record<string, string>> = {}) {
  return await fetch(`${address}${path}`, { headers: { authorization: `Bearer ${token}`, ...headers } });
}

describe('a log', () => {
  test('is followed as it is written, byte for byte, until it ends', async () => {
    const log = writeLog();
    await log.write('first\n');
    await until(async () => (await get(`/v1/logs/${log.log}`)).status === 200);
    const reader = follow(`/v1/logs/${log.log}`);
    await until(() => reader.text() === 'first\n');
    // A progress bar, a character cut in two, and what a stream of events would end a line for.
    const euro = Buffer.from('€');
    await log.write('10%\r20%\n');
    await log.write(euro.subarray(0, 1));
    await until(() => reader.text().endsWith('20%\n'));
    await log.write(Buffer.concat([euro.subarray(1), Buffer.from(`\n${'x'.repeat(5_000)}\n`)]));
    await log.close();
    expect(await reader.ended).toBe(200);
    const expected = `first\n10%\r20%\n€\n${'x'.repeat(5_000)}\n`;
    expect(reader.text()).toBe(expected);
    expect(reader.seen.at(-1)?.id).toBe(String(Buffer.byteLength(expected)));
  });

  test('goes on where a reader was cut off, and tells one that has all of it not to come again', async () => {
    const log = writeLog();
    await log.write('one\n');
    await until(async () => (await get(`/v1/logs/${log.log}`)).status === 200);
    const first = follow(`/v1/logs/${log.log}`);
    const { id } = await until(() => first.seen[0]);
    first.cut();
    await first.ended;
    await log.write('two\n');
    await log.close();
    const second = follow(`/v1/logs/${log.log}`, id);
    await second.ended;
    expect(second.text()).toBe('two\n');
    const third = follow(`/v1/logs/${log.log}`, second.seen.at(-1)?.id);
    expect(await third.ended).toBe(204);
  });

  test('is text as a whole and in ranges', async () => {
    const log = writeLog();
    await log.write('0123456789');
    await log.close();
    const whole = await get(`/v1/logs/${log.log}`);
    expect(whole.headers.get('content-type')).toBe('text/plain; charset=utf-8');
    expect(whole.headers.get('x-log-complete')).toBe('true');
    expect(await whole.text()).toBe('0123456789');
    for (const [range, text, said] of [
      ['bytes=2-4', '234', 'bytes 2-4/10'],
      ['bytes=7-', '789', 'bytes 7-9/10'],
      ['bytes=-3', '789', 'bytes 7-9/10'],
      ['bytes=8-100', '89', 'bytes 8-9/10'],
    ] as const) {
      const part = await get(`/v1/logs/${log.log}`, { range });
      expect([part.status, await part.text(), part.headers.get('content-range')]).toEqual([206, text, said]);
    }
    expect((await get(`/v1/logs/${log.log}`, { range: 'bytes=10-' })).status).toBe(416);
    expect((await get('/v1/logs/run/hello/999/tests/unit/1')).status).toBe(404);
    const list = (await (await get(`/v1/projects/hello/runs/${logs}/logs`)).json()) as { log: string }[];
    expect(list.map((each) => each.log)).toEqual([log.log]);
  });
});

describe('events', () => {
  async function open(environment: string, request: string) {
    await openDeployment(api.store.db, {
      project: 'hello',
      environment,
      version: '1',
      requestedBy: 'ada',
      author: 'ada',
      priority: 'routine',
      requestedAt: new Date().toISOString(),
      kind: 'rollout',
      request,
      startedBy: 'run',
    });
  }

  test('come as they happen, filtered, and a reader that comes back misses none', async () => {
    const reader = follow('/v1/events?environment=staging');
    let made = 0;
    await until(async () => {
      made += 1;
      await open('staging', `r${made}`);
      return reader.seen[0];
    });
    await open('production', 'other');
    reader.cut();
    await reader.ended;
    const last = reader.seen.at(-1)!.id;
    await open('staging', 'while away');
    const again = follow('/v1/events?environment=staging', last);
    const missed = await until(() => again.seen.find((each) => JSON.stringify(each).includes('planning')));
    expect(missed.data).toMatchObject({ kind: 'deployment', project: 'hello', environment: 'staging' });
    expect(JSON.stringify(reader.seen)).not.toContain('production');
    again.cut();
    await again.ended;
  });

  test('are heard again after the connection to the store was cut', async () => {
    const reader = follow('/v1/events?environment=cut');
    await until(async () => {
      await open('cut', `r${performance.now()}`);
      return reader.seen.length > 0;
    });
    await api.store.pool.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'slipway-feeds' and datname = current_database()`,
    );
    const before = reader.seen.length;
    await open('cut', 'after');
    await until(() => reader.seen.length > before);
    reader.cut();
    await reader.ended;
  });

  test('do not keep the API from ending', async () => {
    const app = await api.another();
    const other = await app.listen({ port: 0, host: '127.0.0.1' });
    const response = await fetch(`${other}/v1/events`, {
      headers: { authorization: `Bearer ${token}`, accept: 'text/event-stream' },
    });
    expect(response.status).toBe(200);
    const began = performance.now();
    await app.close();
    expect(performance.now() - began).toBeLessThan(3_000);
    await response.body?.cancel().catch(() => undefined);
  });
});
