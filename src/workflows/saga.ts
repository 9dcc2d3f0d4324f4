import { CancellationScope, condition, log, patched, sleep } from '@temporalio/workflow';
import type { RollbackStepName } from '../domain/deployment.ts';
import type { FailureType } from '../domain/failure-kinds.ts';
import { describeFailure, failureType, tellFailure } from '../domain/failures.ts';
import { isoNow } from './progress.ts';

/** How to take one step back. Declarative (`ensure the previous release live`), for the step may have happened, half, or not at all. */
export interface Undo {
  /** Under which heading of the report it goes. */
  readonly heading: RollbackStepName;
  /** @returns what there is to say about it. */
  run(): Promise<string | undefined>;
}

export interface UndoRecord {
  readonly heading: RollbackStepName;
  readonly done: boolean;
  readonly startedAt: string;
  readonly durationMs: number;
  readonly detail: string;
}

/** The undos of what has been done so far, each registered **before** the step that it takes back. */
export class Saga {
  readonly #undos: Undo[] = [];

  register(undo: Undo): void {
    this.#undos.push(undo);
  }

  /**
   * Undoes in reverse order, shielded from cancellation, on past failures; never throws.
   *
   * @param left - a person has said to leave things as they are: what has not begun by then is not undone.
   */
  unwind(
    after: (record: UndoRecord) => void = () => undefined,
    left: () => boolean = () => false,
  ): Promise<UndoRecord[]> {
    return CancellationScope.nonCancellable(async () => {
      const records: UndoRecord[] = [];
      for (const undo of this.#undos.splice(0).reverse()) {
        // Traffic may still be on the release that the next undo would stop.
        const leave = left() && patched('2026-11-26-left-as-it-is');
        const record = leave ? leftRecord(undo) : await runUndo(undo);
        records.push(record);
        after(record);
      }
      return records;
    });
  }
}

function leftRecord({ heading }: Undo): UndoRecord {
  return { heading, done: false, startedAt: isoNow(), durationMs: 0, detail: 'left as it is, on a person’s word' };
}

async function runUndo(undo: Undo): Promise<UndoRecord> {
  const began = Date.now();
  const startedAt = isoNow();
  const record = (done: boolean, detail: string): UndoRecord => ({
    heading: undo.heading,
    done,
    startedAt,
    durationMs: Date.now() - began,
    detail,
  });
  for (let round = 1; ; round += 1) {
    try {
      return record(true, (await undo.run()) ?? '');
    } catch (error) {
      // Traffic is back by now or goes back without the store; the rest is not failed because nothing may be changed without it.
      if (storeAway.includes(failureType(error)) && Date.now() - began < storeAwayMs) {
        await sleep(Math.min(longestStorePauseMs, 500 * 2 ** round), { summary: 'waits for the store' });
        continue;
      }
      log.error('an undo failed', { heading: undo.heading, message: describeFailure(error).message });
      return record(false, tellFailure(error));
    }
  }
}

/** Nothing may be changed for the moment; the thing itself was not tried. */
const storeAway: readonly FailureType[] = ['StoreUnavailable', 'FenceUnavailable'];
/** A store that stays away longer is a case for a person: the environment is held, and the report says what was not undone. Judgement. */
const storeAwayMs = 900_000;
const longestStorePauseMs = 10_000;

const longestPauseMs = 600_000;

/**
 * Repeats a move of traffic without end: nothing else that could be done is better than traffic on the release that works.
 *
 * @param move - tries three times by itself (proxies/undo.ts `trafficBack`).
 * @param page - called once, after the first three tries.
 * @param givenUp - a person has said to leave it.
 * @param start - starts the release that the traffic is to go to. Called where the move finds nothing there: waiting brings it back never.
 * @throws `FenceRefused` - somebody newer works on the target; or the last failure once it is given up.
 */
export async function withoutEnd<T>(
  move: () => Promise<T>,
  page: (why: string) => void,
  givenUp: () => boolean,
  start?: () => Promise<unknown>,
): Promise<T> {
  const moveOrStart = async (): Promise<T> => {
    try {
      return await move();
    } catch (error) {
      if (start === undefined || givenUp() || failureType(error) !== 'ReleaseMissing') throw error;
      if (!patched('2026-11-26-missing-release-started')) throw error;
      await start();
      return await move();
    }
  };
  for (let round = 1; ; round += 1) {
    try {
      return await moveOrStart();
    } catch (error) {
      if (failureType(error) === 'FenceRefused' || givenUp()) throw error;
      if (round === 1) page(describeFailure(error).message);
      await condition(givenUp, Math.min(longestPauseMs, 1_000 * 2 ** round), { summary: 'moves traffic back again' });
    }
  }
}
