import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { createApp } from '../src/app.js';
import { createFault } from '../src/fault.js';

const stored = [];
let down = false;
const notes = {
  ping: async () => {
    if (down) throw new Error('connection refused');
  },
  list: async (limit) => stored.slice(-limit),
  count: async () => stored.length,
  add: async (body, writtenBy) => stored.push({ id: stored.length + 1, body, writtenBy }) && { id: stored.length },
  close: async () => undefined,
};
const app = createApp({ version: '1.2.3', release: 'r1', slot: 'blue', greeting: 'Hi', notes, fault: () => false });
let address;

before(async () => {
  app.server.listen(0, '127.0.0.1');
  await once(app.server, 'listening');
  address = `http://127.0.0.1:${app.server.address().port}`;
});
after(() => app.close());

test('says which release it is', async () => {
  const response = await fetch(`${address}/`);
  assert.deepEqual(await response.json(), { greeting: 'Hi', version: '1.2.3', release: 'r1', slot: 'blue' });
  assert.equal(response.headers.get('x-version'), '1.2.3');
});

test('keeps a note and gives it back', async () => {
  const posted = await fetch(`${address}/notes`, { method: 'POST', body: JSON.stringify({ body: 'milk' }) });
  assert.equal(posted.status, 201);
  const { notes: listed } = await (await fetch(`${address}/notes`)).json();
  assert.deepEqual(listed.at(-1), { id: 1, body: 'milk', writtenBy: '1.2.3' });
});

test('refuses an empty note and what is not JSON', async () => {
  const status = async (body) => (await fetch(`${address}/notes`, { method: 'POST', body })).status;
  assert.equal(await status('{"body":" "}'), 422);
  assert.equal(await status('{'), 400);
});

test('is unhealthy while its database is away', async () => {
  down = true;
  assert.equal((await fetch(`${address}/health`)).status, 503);
  down = false;
  assert.equal((await fetch(`${address}/health`)).status, 200);
});

test('counts requests by route and status', async () => {
  const text = await (await fetch(`${address}/metrics`)).text();
  assert.match(text, /http_requests_total\{route="POST \/notes",status="201"\} 1/);
  assert.match(text, /http_request_duration_seconds_count\{route="GET \/health"\} 2/);
});

test('a fault fails exactly its share, and only after its time', () => {
  const fault = createFault({ errorRatio: 0.1, afterMs: 0 });
  const ask = (times) => Array.from({ length: times }, () => fault()).filter(Boolean).length;
  // The first ones may be those of a probe, before any user came.
  assert.equal(ask(20), 0);
  assert.equal(ask(100), 10);
  const later = createFault({ errorRatio: 1, afterMs: 60_000 });
  assert.deepEqual(new Set(Array.from({ length: 50 }, () => later())), new Set([false]));
});
