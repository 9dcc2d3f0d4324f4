import { createInterface } from 'node:readline';
import type { LoadAnswer } from '../../support/traffic-load.ts';
import { mixedKinds } from '../../support/traffic-load.ts';
import { until } from '../../support/until.ts';
import { type Step, steps } from './change.ts';
import { readExportedIds, type TrafficLab } from './lab.ts';

/** A stretch of time, ms since 1970, in which requests may fail, and why. */
export interface Window {
  readonly from: number;
  readonly to: number;
  readonly why: string;
}

/** When a step began first and was done at last, over all drivers that tried it. */
export interface StepTime {
  begun: number;
  done?: number;
}

/** One change under load: who drives it, what is answered meanwhile, what may fail. */
export interface Scene {
  readonly times: Map<Step, StepTime>;
  readonly answers: LoadAnswer[];
  /**
   * Drives the change from one step to another.
   *
   * @param kill - the driver is SIGKILLed so long after it began the step, and another one goes on from there.
   */
  drive(first: Step, last: Step, kill?: { readonly at: Step; readonly afterMs: number }): Promise<void>;
  /** Does something that may make requests fail, and remembers when. */
  disturb(why: string, work: () => Promise<unknown>, afterMs?: number): Promise<void>;
  allow(window: Window): void;
  /** Ends the load and tells what was wrong with the answers; empty when nothing was. */
  end(): Promise<SceneReport>;
}

export interface SceneReport {
  readonly requests: number;
  readonly ratePerS: number;
  /** Failed outside of every window, or answered by the wrong version. */
  readonly wrong: readonly string[];
  /** Failed within a window, by its reason. */
  readonly excused: Readonly<Record<string, number>>;
  readonly acknowledged: readonly string[];
}

export function startScene(
  lab: TrafficLab,
  change: { readonly deployment: number; readonly from: string; readonly to: string },
  ratePerS: number,
): Scene {
  const answers: LoadAnswer[] = [];
  const windows: Window[] = [];
  const times = new Map<Step, StepTime>();
  const startedAt = Date.now();
  const load = lab.startLoad({
    ratePerS,
    kinds: mixedKinds,
    idPrefix: `d${change.deployment}`,
    maxOpen: 64,
    timeoutMs: 30_000,
  });
  load.stderr?.pipe(process.stderr);
  const loadEnded = new Promise<void>((resolve) => {
    const lines = createInterface({ input: load.stdout! });
    lines.on('line', (line) => {
      const parsed = JSON.parse(line) as LoadAnswer | { sent: number };
      if ('kind' in parsed) answers.push(parsed);
    });
    lines.once('close', resolve);
  });

  async function driveOnce(
    first: Step,
    last: Step,
    kill?: { readonly at: Step; readonly afterMs: number },
  ): Promise<Step | undefined> {
    const driver = lab.node('change.ts', { ...lab.change, ...change, first, last });
    const seen: { current: Step; killed: boolean } = { current: first, killed: false };
    let said = '';
    driver.stderr?.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-4_000)));
    createInterface({ input: driver.stdout! }).on('line', (line) => {
      const { step, done, at } = JSON.parse(line) as { step: Step; done: boolean; at: number };
      seen.current = step;
      const time = times.get(step) ?? { begun: at };
      times.set(step, done ? { ...time, done: at } : time);
      if (done || kill?.at !== step || seen.killed) return;
      seen.killed = true;
      setTimeout(() => driver.kill('SIGKILL'), kill.afterMs);
    });
    const code = await new Promise<number | null>((resolve) => driver.once('close', resolve));
    if (code === 0) return undefined;
    if (seen.killed) return seen.current;
    throw new Error(`the driver ended with ${code} in step ${seen.current}: ${said}`);
  }

  function expected(answer: LoadAnswer): string | undefined {
    const [there, back] = [times.get('switch'), times.get('switch-back')];
    if (there === undefined || answer.endedAt < there.begun) return change.from;
    if (there.done === undefined || answer.sentAt <= there.done) return undefined;
    if (back === undefined || answer.endedAt < back.begun) return change.to;
    return back.done === undefined || answer.sentAt <= back.done ? undefined : change.from;
  }

  return {
    times,
    answers,
    async drive(first, last, kill) {
      let from: Step | undefined = first;
      let next = kill;
      while (from !== undefined && steps.indexOf(from) <= steps.indexOf(last)) {
        from = await driveOnce(from, last, next);
        next = undefined;
      }
    },
    async disturb(why, work, afterMs = 1_000) {
      const from = Date.now();
      await work();
      windows.push({ from, to: Date.now() + afterMs, why });
    },
    allow: (window) => void windows.push(window),
    async end() {
      // What happens after the last step belongs to the scene too.
      const seen = answers.length;
      await until(() => answers.length > seen + ratePerS / 2, { what: 'more answers' });
      load.kill('SIGTERM');
      await loadEnded;
      const wrong: string[] = [];
      const excused: Record<string, number> = {};
      for (const answer of answers) {
        const failed = answer.status === 0 || answer.status >= 500;
        const version = expected(answer);
        const other = !failed && version !== undefined && answer.version !== version;
        if (!failed && !other) continue;
        const window = windows.find(({ from, to }) => answer.endedAt >= from && answer.sentAt <= to);
        if (window !== undefined) excused[window.why] = (excused[window.why] ?? 0) + 1;
        else wrong.push(describe(answer, version, startedAt));
      }
      return {
        requests: answers.length,
        ratePerS: Math.round(answers.length / ((Date.now() - startedAt) / 1000)),
        wrong,
        excused,
        acknowledged: answers.filter(({ status }) => status === 201).map(({ id }) => id),
      };
    },
  };
}

function describe(answer: LoadAnswer, version: string | undefined, startedAt: number): string {
  const what = answer.error ?? `status ${answer.status} from ${answer.version ?? 'nobody'}`;
  return `${answer.kind} at ${answer.sentAt - startedAt}..${answer.endedAt - startedAt} ms: ${what}, wanted ${version ?? 'either'}`;
}

/** Ids of acknowledged writes that are nowhere: not live, not in a database put aside, not in an export. */
export async function findLostWrites(lab: TrafficLab, acknowledged: readonly string[]): Promise<string[]> {
  const exported = await readExportedIds(lab.blobsFolder);
  const there = new Set(exported);
  for (const database of (await lab.databases()).filter((name) => name === 'hello' || name.includes('_damaged_'))) {
    for (const { id } of await lab.query<{ id: string }>(database, 'select id from items')) there.add(id);
  }
  return acknowledged.filter((id) => !there.has(id));
}

/** Ids of acknowledged writes that are neither live nor exported: a person could only find them in a database put aside. */
export async function findUnexportedWrites(lab: TrafficLab, acknowledged: readonly string[]): Promise<string[]> {
  const there = await readExportedIds(lab.blobsFolder);
  for (const { id } of await lab.query<{ id: string }>('hello', 'select id from items')) there.add(id);
  return acknowledged.filter((id) => !there.has(id));
}
