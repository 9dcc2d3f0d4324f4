/**
 * Sends requests at a constant rate, by the clock and not by the answers, in a thread of its own, so that nothing else of the bench delays
 * one. Started by load.ts.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { Agent, request } from 'undici';
import type { LoadOptions, LoadRecord, Mode } from './load.ts';

const { url, ratesPerS, maxInFlight } = workerData as LoadOptions;
const kept = new Agent({ connections: 32, keepAliveTimeout: 30_000 });
const fresh = new Agent({ connections: 512, pipelining: 1 });
const records: LoadRecord[] = [];
const modes = Object.entries(ratesPerS) as [Mode, number][];
const sent = new Map<Mode, number>(modes.map(([mode]) => [mode, 0]));
const now = (): number => performance.timeOrigin + performance.now();
const startedMs = now();
let inFlight = 0;
let stopping = false;

async function send(mode: Mode): Promise<void> {
  const sentMs = now();
  if (inFlight >= maxInFlight) {
    records.push({ mode, sentMs, doneMs: sentMs, version: '', failure: 'not sent: too many are waiting' });
    return;
  }
  inFlight += 1;
  try {
    const response = await request(mode === 'slow' ? `${url}/slow` : `${url}/`, {
      dispatcher: mode === 'kept' ? kept : fresh,
      method: mode === 'post' ? 'POST' : 'GET',
      body: mode === 'post' ? 'a body that must arrive once' : null,
      reset: mode !== 'kept',
      headersTimeout: 10_000,
      bodyTimeout: 10_000,
    });
    const said = await response.body.text();
    const version = String(response.headers['x-version'] ?? '');
    const failure = response.statusCode !== 200 ? String(response.statusCode) : said === version ? '' : 'cut';
    records.push({ mode, sentMs, doneMs: now(), version, failure });
  } catch (error) {
    const failure = (error as NodeJS.ErrnoException).code ?? String(error);
    records.push({ mode, sentMs, doneMs: now(), version: '', failure });
  } finally {
    inFlight -= 1;
    if (stopping && inFlight === 0) finish();
  }
}

const ticker = setInterval(() => {
  for (const [mode, rate] of modes) {
    const due = Math.floor(((now() - startedMs) / 1_000) * rate);
    for (let number = sent.get(mode) ?? 0; number < due; number += 1) void send(mode);
    sent.set(mode, due);
  }
}, 4);

function finish(): void {
  parentPort?.postMessage({ kind: 'records', records });
  void Promise.all([kept.close(), fresh.close()]);
  parentPort?.close();
}

parentPort?.on('message', (message: string) => {
  if (message !== 'stop') return;
  stopping = true;
  clearInterval(ticker);
  if (inFlight === 0) finish();
});
