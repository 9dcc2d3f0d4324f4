import { setTimeout } from 'node:timers/promises';
import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import pLimit from 'p-limit';
import { endOfRun } from '../domain/abandoned.ts';
import { type TurnAnswer, closingMs } from '../domain/run-turn.ts';
import { type Ahead, firstQueued, runsToSupersede, takeTurn } from '../store/run-turns.ts';
import type { Store } from '../store/store.ts';
import { runId, supersedeSignal, turnFreedSignal } from '../workflows/messages.ts';
import { type RunEnder, createRunEnder } from './abandoned.ts';
import { typed } from './changes.ts';
import type { NoticeActivities, RunTurnActivities } from './contracts.ts';

export interface RunTurnDependencies {
  readonly store: Pick<Store, 'db'>;
  readonly temporal: Client;
  readonly sendNotice: NoticeActivities['sendNotice'];
}

/** Tells the run of a ref that comes next that its turn may have come. Never fails: who waits looks again by itself. */
export type FreeTurn = (project: string, ref: string) => Promise<void>;

/** Of one message to Temporal, ms. */
const askMs = 2_000;
/** After this nothing more is begun, ms: with what is under way it stays within the 8 s of an activity of the store. */
const enoughMs = 2_500;
/** Runs in a row that are over without a word and are passed by at once; what is left is found by the next look. Judgement. */
const mostPassedBy = 10;
const atOnce = 10;

/** The turns of runs that go one after the other. What stands before whom is in the store; here is who is told, and who is over. */
export function createRunTurnActivities(deps: RunTurnDependencies): RunTurnActivities {
  const { store, temporal } = deps;
  const ender = createRunEnder(deps);

  /** @returns whether the way is free now of a run that will say nothing any more. */
  async function passBy(
    project: string,
    { key, number, phase, started }: Ahead,
  ): Promise<'open' | 'closing' | 'passed'> {
    // What Temporal never had is about to be started.
    if (!started) return 'open';
    return await endIfOver(ender, { project, key, number, phase });
  }

  return {
    askRunTurn: (asked) =>
      typed(async (): Promise<TurnAnswer> => {
        const { project } = asked.run;
        const beganMs = performance.now();
        let told = false;
        for (let passed = 0; ; passed += 1) {
          const taken = await takeTurn(store.db, asked);
          if (taken.kind !== 'waits') return taken;
          if (asked.mode === 'supersede' && !told) {
            await supersede(deps, asked.run);
            told = true;
          }
          const { waitsFor, position } = taken;
          const enough = passed >= mostPassedBy || performance.now() - beganMs > enoughMs;
          const state = enough ? 'open' : await passBy(project, taken.first);
          if (state === 'passed') continue;
          return { kind: 'waits', waitsFor, position, ...(state === 'closing' ? { closing: true as const } : {}) };
        }
      }),
  };

  async function supersede(
    { store: { db } }: RunTurnDependencies,
    run: Parameters<typeof runsToSupersede>[1],
  ): Promise<void> {
    const limit = pLimit(atOnce);
    const keys = await runsToSupersede(db, run);
    await Promise.all(
      keys.map((key) =>
        limit(() =>
          say(temporal, runId(run.project, key), (handle) => handle.signal(supersedeSignal, { by: run.number })),
        ),
      ),
    );
  }
}

/** @param deps - as the activities have them. */
export function createFreeTurn(deps: RunTurnDependencies): FreeTurn {
  const { store, temporal } = deps;
  const ender = createRunEnder(deps);
  async function tellNext(project: string, ref: string): Promise<void> {
    for (let passed = 0; passed < mostPassedBy; passed += 1) {
      const next = await firstQueued(store.db, project, ref);
      if (next === undefined) return;
      const told = await say(temporal, runId(project, next.key), (handle) => handle.signal(turnFreedSignal));
      // One that is over cannot be told; the one behind it is.
      if (told || (await endIfOver(ender, { project, ...next })) !== 'passed') return;
    }
  }

  return async (project, ref) => {
    // What is not told is found by the look of whoever waits.
    const telling = tellNext(project, ref).catch(() => undefined);
    const enough = new AbortController();
    await Promise.race([telling, setTimeout(enoughMs, undefined, { signal: enough.signal }).catch(() => undefined)]);
    enough.abort();
  };
}

async function endIfOver(
  ender: RunEnder,
  run: Parameters<RunEnder['find']>[0],
): Promise<'open' | 'closing' | 'passed'> {
  const found = await ender.find(run, closingMs).catch(() => undefined);
  if (found === undefined) return 'open';
  if (found === 'closing') return 'closing';
  await ender.end(found, endOfRun(found));
  return 'passed';
}

/** @returns false where nobody of that name can be told anything any more. */
async function say(
  temporal: Client,
  workflowId: string,
  message: (handle: ReturnType<Client['workflow']['getHandle']>) => Promise<void>,
): Promise<boolean> {
  try {
    await temporal.withDeadline(Date.now() + askMs, () => message(temporal.workflow.getHandle(workflowId)));
    return true;
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return false;
    throw error;
  }
}
