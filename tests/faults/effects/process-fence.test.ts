import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Client } from 'pg';
import { ensureFenceSchema } from '../../../src/effects/fence-table.ts';
import { components } from '../../support/components.ts';
import { until } from '../../support/until.ts';
import { roundVariable, type EffectNews, type EffectRequest } from './effect-worker.ts';

/** `SLIPWAY_FENCE_ROUNDS=300` is the whole exercise, as `npm run test:all` plays it; the default keeps the suite short. */
const rounds = Number(process.env['SLIPWAY_FENCE_ROUNDS'] ?? 40);
/** Every tenth worker is stopped for 20 s instead of killed. */
const stopEvery = 10;
const stopMs = 20_000;
const lanes = 8;
/** What Temporal takes to notice: a heartbeat time-out of 3 s, then the first retry after 250 ms. */
const noticeMs = 3_250;
const longestResumeMs = 8_000;
/**
 * By how much a machine is late that has more than two runnable processes a core: the rule is about leases, not about a processor that is given
 * to others. 1 on a quiet one, never more than 2.
 */
const lateness = (): number => Math.min(2, Math.max(1, loadavg()[0]! / (2 * availableParallelism())));

type Moment = 'before' | 'during' | 'after';

interface Round {
  readonly id: string;
  readonly moment: Moment;
  readonly fault: 'SIGKILL' | 'SIGSTOP';
  readonly survivor: keyof typeof survivors;
  readonly request: EffectRequest;
}

interface Finding {
  readonly id: string;
  readonly moment: Moment;
  readonly fault: string;
  readonly survivor: string;
  readonly resumeMs: number;
  readonly allowedMs: number;
  readonly orphans: number;
  readonly lateLines: readonly string[];
  readonly firstOutcome: string;
  readonly laterOutcomes: readonly string[];
}

let connectionString: string;
let folder: string;
/** One on this machine and one that cannot see its processes, as on another. */
let survivors: Record<'near' | 'far', EffectWorker>;

beforeAll(async () => {
  const { store } = await components('store');
  connectionString = store.url;
  folder = mkdtempSync(join(tmpdir(), 'slipway-fence-'));
  const client = new Client({ connectionString });
  await client.connect();
  await ensureFenceSchema(client);
  await client.query(`DELETE FROM fence WHERE target LIKE 'fault/%'`);
  await client.end();
  survivors = {
    near: startWorker(),
    far: startWorker(['unshare', '--fork', '--pid', '--kill-child=KILL', '--mount-proc']),
  };
}, 180_000);

afterAll(() => {
  for (const { child } of Object.values(survivors)) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

test(
  `${rounds} workers killed or stopped: no orphan, no overlap, no older effect after a newer began, resumed in time`,
  async () => {
    const findings = await inLanes(plan(), playRound);
    const resumes = findings.map((finding) => finding.resumeMs).sort((a, b) => a - b);
    process.stdout.write(
      `${JSON.stringify({
        rounds: findings.length,
        stopped: findings.filter((finding) => finding.fault === 'SIGSTOP').length,
        resumeP50Ms: resumes[Math.floor(resumes.length / 2)],
        resumeMaxMs: resumes.at(-1),
        resumeMaxStoppedMs: Math.max(...findings.filter((f) => f.fault === 'SIGSTOP').map((f) => f.resumeMs)),
        lateness: lateness(),
        triedAgain: findings
          .filter((finding) => finding.laterOutcomes.length > 1)
          .map((finding) => finding.laterOutcomes),
        orphans: findings.reduce((sum, finding) => sum + finding.orphans, 0),
        lateLines: findings.reduce((sum, finding) => sum + finding.lateLines.length, 0),
        firstOutcomes: counted(
          findings.map((f) => `${f.fault} ${f.moment}, ${f.survivor}: ${f.firstOutcome.split(':')[0]}`),
        ),
      })}\n`,
    );
    expect(findings).toHaveLength(rounds);
    expect(findings.filter((finding) => finding.orphans > 0)).toEqual([]);
    expect(findings.filter((finding) => finding.lateLines.length > 0)).toEqual([]);
    expect(findings.filter((finding) => finding.laterOutcomes.at(-1) !== 'done')).toEqual([]);
    expect(findings.filter((finding) => finding.resumeMs > finding.allowedMs)).toEqual([]);
    // A stopped worker that wakes up must be told; one that was stopped after its effect may have been done.
    const woken = findings.filter((finding) => finding.fault === 'SIGSTOP' && finding.moment === 'during');
    for (const { firstOutcome } of woken) expect(firstOutcome).toMatch(/^Fence(Refused|Unavailable): /);
  },
  60_000 + rounds * 2_500,
);

function counted(keys: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const key of keys) counts[key] = (counts[key] ?? 0) + 1;
  return counts;
}

function plan(): readonly Round[] {
  const moments: readonly Moment[] = ['before', 'during', 'during', 'after'];
  const planned = Array.from({ length: rounds }, (_, index): Round => {
    const id = `${process.pid}-${index}`;
    const stopped = index % stopEvery === 0;
    const moment = moments[Math.floor(stopped ? index / stopEvery / 2 : index / 2) % 4] ?? 'during';
    return {
      id,
      moment,
      fault: stopped ? 'SIGSTOP' : 'SIGKILL',
      survivor: (stopped ? index / stopEvery : index) % 2 === 0 ? 'far' : 'near',
      request: {
        round: id,
        target: `fault/${id}`,
        attempt: 1,
        ledger: join(folder, id),
        effectMs: moment === 'after' ? 100 : 30_000,
        daemon: index % 3 === 0,
      },
    };
  });
  // The slow ones first, so that they run beside the others.
  return planned.sort((a, b) => Number(b.fault === 'SIGSTOP') - Number(a.fault === 'SIGSTOP'));
}

async function playRound(round: Round): Promise<Finding> {
  const { request } = round;
  const survivor = survivors[round.survivor];
  writeFileSync(request.ledger, '');
  const first = startWorker();
  try {
    await first.play(request, 'starting');
    const ended = first.news(request.round, 'ended');
    await Promise.race([reachMoment(round.moment, request.ledger), endedEarly(ended)]);
    first.child.kill(round.fault);
    const faultAt = performance.now();

    await delay(noticeMs);
    const killedOrphans = round.fault === 'SIGKILL' ? processesOf(round.id).length : 0;
    let resumeMs = Infinity;
    const looking = until(() => linesOf(request.ledger).some((line) => !line.startsWith('1 ')), {
      timeoutMs: 30_000,
      everyMs: 10,
      what: 'the second effect',
    }).then(() => (resumeMs = performance.now() - faultAt));
    // Awaited only if there was one.
    looking.catch(() => undefined);
    const laterOutcomes = await resume(survivor, request);
    if (laterOutcomes.at(-1) === 'done') await looking;

    let firstOutcome = 'killed';
    if (round.fault === 'SIGSTOP') {
      await delay(Math.max(0, stopMs - (performance.now() - faultAt)));
      first.child.kill('SIGCONT');
      firstOutcome = await ended;
    }
    const orphans = killedOrphans + processesOf(round.id).length;
    const lateLines = olderAfterNewer(linesOf(request.ledger));
    return {
      ...round,
      resumeMs: Math.round(resumeMs),
      allowedMs: Math.round(longestResumeMs * lateness()),
      orphans,
      lateLines,
      firstOutcome,
      laterOutcomes,
    };
  } finally {
    first.child.kill('SIGKILL');
  }
}

/** As Temporal does: what may be tried again is, for a busy machine can starve any worker for the length of a lease. */
async function resume(survivor: EffectWorker, request: EffectRequest): Promise<readonly string[]> {
  const outcomes: string[] = [];
  for (let attempt = 2; outcomes.length < 4; attempt += 1) {
    const ended = survivor.news(request.round, 'ended');
    await survivor.play({ ...request, attempt, effectMs: 300 }, 'starting');
    const outcome = await ended;
    outcomes.push(outcome);
    if (!outcome.startsWith('FenceUnavailable')) break;
  }
  return outcomes;
}

/** A first attempt that ends by itself before its moment has come says why, instead of being waited for. */
async function endedEarly(ended: Promise<string>): Promise<never> {
  const outcome = await ended;
  if (outcome === 'done' || outcome.startsWith('gone')) return new Promise(() => undefined);
  throw new Error(`the first attempt ended by itself: ${outcome}`);
}

async function reachMoment(moment: Moment, ledger: string): Promise<void> {
  switch (moment) {
    case 'before':
      // Anywhere between the connection to the store and the first line of the effect.
      await delay(Math.random() * 60);
      return;
    case 'during':
      await until(() => linesOf(ledger).length > 0, { timeoutMs: 30_000, everyMs: 10, what: 'the first effect' });
      await delay(Math.random() * 1_500);
      return;
    case 'after':
      await until(() => linesOf(ledger).some((line) => line.startsWith('1 end')), {
        timeoutMs: 30_000,
        everyMs: 5,
        what: 'its end',
      });
      await delay(Math.random() * 20);
  }
}

interface EffectWorker {
  readonly child: ChildProcess;
  /** Sends a request and waits for the news that it is under way. */
  play(request: EffectRequest, event: EffectNews['event']): Promise<unknown>;
  /** The outcome in the next such news of a round. */
  news(round: string, event: EffectNews['event']): Promise<string>;
}

function startWorker(prefix: readonly string[] = []): EffectWorker {
  const program = join(import.meta.dirname, 'effect-worker.ts');
  const [file, ...args] = [...prefix, process.execPath, program, connectionString];
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const waiting = new Map<string, (outcome: string) => void>();
  // Whoever waits for news of a worker that is gone must not wait for ever.
  child.on('exit', (code, signal) => {
    for (const tell of waiting.values()) tell(`gone: ${signal ?? code ?? ''}`);
  });
  // A worker that is killed with a request on its way breaks the pipe, as it should.
  child.stdin.on('error', () => undefined);
  createInterface({ input: child.stdout }).on('line', (line) => {
    const news = JSON.parse(line) as EffectNews;
    waiting.get(`${news.round} ${news.event}`)?.(news.outcome ?? '');
  });
  const news = (round: string, event: EffectNews['event']): Promise<string> =>
    new Promise((resolve) => waiting.set(`${round} ${event}`, resolve));
  return {
    child,
    news,
    play(request, event) {
      const told = news(request.round, event);
      child.stdin.write(`${JSON.stringify(request)}\n`);
      return told;
    },
  };
}

async function inLanes<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<readonly R[]> {
  const rest = [...items];
  const results: R[] = [];
  async function lane(): Promise<void> {
    for (let item = rest.shift(); item !== undefined; item = rest.shift()) results.push(await work(item));
  }
  await Promise.all(Array.from({ length: lanes }, lane));
  return results;
}

function linesOf(ledger: string): readonly string[] {
  return readFileSync(ledger, 'utf8')
    .split('\n')
    .filter((line) => line !== '');
}

/** Lines of an attempt that stand behind one of a later attempt. */
function olderAfterNewer(lines: readonly string[]): readonly string[] {
  let newest = 0;
  return lines.filter((line) => {
    const attempt = Number(line.split(' ')[0]);
    newest = Math.max(newest, attempt);
    return attempt < newest;
  });
}

/** Every process on this machine that was started for a round, however it got away. */
function processesOf(round: string): readonly number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(`${roundVariable}=${round}`);
      } catch {
        return false;
      }
    })
    .map(Number);
}
