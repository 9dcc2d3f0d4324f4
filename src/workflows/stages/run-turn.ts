import { condition, workflowInfo } from '@temporalio/workflow';
import type { RunPlan } from '../../domain/run.ts';
import {
  type QueuePlace,
  type RunTurn as TurnRule,
  nextLookMs,
  overdueSentence,
  placeSentence,
  supersededSentence,
} from '../../domain/run-turn.ts';
import type { RunView } from '../messages.ts';
import { call } from '../call.ts';
import { record } from '../proxies/record.ts';
import { isoNow, took } from '../progress.ts';

interface TurnOptions {
  /** Since when it waits, where it has waited in a history before, ISO 8601. */
  readonly since?: string;
  /** As of `RunCarried`. */
  readonly maxHistoryEvents?: number;
  /** Told before each wait, first of all that there is one. */
  readonly onWait: (sentence: string) => void;
  /** Gives the checkout back: a run that waits for hours must not keep a disk, nor depend on one machine. */
  readonly letGo: () => Promise<void>;
  /** Goes on in a new history under the same id, and does not return; what it has waited counts. */
  readonly goOnAnew: (since: string) => Promise<never>;
}

/** How a run came out of its wait: `prepared` with its checkout, or to be prepared again; or the end of it. */
export type TurnTaken =
  | { readonly kind: 'granted'; readonly prepared: boolean }
  | { readonly kind: 'ended'; readonly outcome: 'superseded' | 'expired'; readonly reason: string };

/** The checkout is kept for a wait that is over so soon, ms: another one costs about as much. Judgement. */
const keepMs = 5_000;

/**
 * The turn of a run whose ref goes one after the other. What holds is in the store: this asks for it, is told when it may have come, and looks by itself
 * now and then, for the run before may have been ended from outside.
 */
export class RunTurn {
  readonly #options: TurnOptions;
  #freed = false;
  /** Of the first question; kept when the run begins anew elsewhere, or in a new history. */
  #since: string | undefined;
  #place: RunView['queue'];

  constructor(options: TurnOptions) {
    this.#options = options;
    this.#since = options.since;
  }

  get place(): RunView['queue'] {
    return this.#place;
  }

  /** Its turn may have come. */
  free(): void {
    this.#freed = true;
  }

  #isLong(): boolean {
    const { historyLength, continueAsNewSuggested } = workflowInfo();
    return continueAsNewSuggested || historyLength >= (this.#options.maxHistoryEvents ?? Infinity);
  }

  /** @throws the cancellation of the scope it is called in. */
  async take({ run }: Pick<RunPlan, 'run'>, { mode, timeoutMs }: TurnRule): Promise<TurnTaken> {
    this.#since ??= isoNow();
    const since = this.#since;
    const untilMs = Date.parse(since) + timeoutMs;
    const until = new Date(untilMs).toISOString();
    let prepared = true;
    try {
      for (;;) {
        // A word that comes while it asks is one more reason to ask.
        this.#freed = false;
        const answer = await call(
          record.askRunTurn,
          this.#place === undefined ? 'asks for its turn' : 'looks whether its turn has come',
          { run, mode, since, until, prepared },
          // Who gives up need not hear the answer: the end of a run frees whatever it was given.
          { cancellationType: 'TRY_CANCEL' },
        );
        if (answer.kind === 'granted') return { kind: 'granted', prepared };
        if (answer.kind === 'superseded') {
          return { kind: 'ended', outcome: 'superseded', reason: supersededSentence(answer.by) };
        }
        const { waitsFor, position } = answer;
        const place: QueuePlace = { waitsFor, position };
        this.#place = { ...place, since, until };
        this.#options.onWait(placeSentence(place));
        const leftMs = untilMs - Date.now();
        if (leftMs <= 0) return { kind: 'ended', outcome: 'expired', reason: overdueSentence(place, took(timeoutMs)) };
        const waitedMs = Date.now() - Date.parse(since);
        if (prepared && waitedMs >= keepMs) {
          prepared = false;
          await this.#options.letGo();
        }
        if (!prepared && this.#isLong()) await this.#options.goOnAnew(since);
        const waitMs = Math.min(leftMs, nextLookMs(waitedMs, answer));
        await condition(() => this.#freed, waitMs, { summary: `for run ${waitsFor}` });
      }
    } finally {
      this.#place = undefined;
    }
  }
}
