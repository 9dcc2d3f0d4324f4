import { condition, patched } from '@temporalio/workflow';
import type { RollbackStepName } from '../../domain/deployment.ts';
import { between, isoNow } from '../progress.ts';
import type { UndoRecord } from '../saga.ts';

/** What a rollback begins beside the move of traffic. Neither is ever refused. */
export interface Initiated {
  /** Its incident; undefined where none is opened, or could not be. */
  readonly incident: Promise<string | undefined>;
  /** Whether the alert is out; absent where nobody is called. */
  readonly told?: Promise<boolean>;
}

/** Before, the second step of a rollback was over as it began, and the seventh was the drop of a database. */
export const rollbackMeasured = '2026-11-26-rollback-measured';

/** The end of a rollback waits no longer than this for an alert on its way, ms: the one of a slow channel, which has 10 s. Judgement. */
const lastWaitMs = 15_000;

/** The second step of a rollback, alert and incident: it runs beside the others, for traffic waits for nobody, and ends with the last of the two. */
export class Initiation {
  readonly incident: Promise<string | undefined>;
  readonly #measured = patched(rollbackMeasured);
  readonly #begun = isoNow();
  readonly #calls: boolean;
  #endedAt: string | undefined;
  #incident: string | undefined;
  #out: boolean | undefined;

  constructor({ incident, told }: Initiated) {
    this.incident = incident;
    this.#calls = told !== undefined;
    void Promise.all([incident, told]).then(([opened, out]) => {
      this.#incident = opened;
      this.#out = out;
      this.#endedAt = isoNow();
    });
  }

  /** Waits until both are out, a little. @returns false for a rollback that was begun before the steps were measured. */
  async settle(): Promise<boolean> {
    if (!this.#measured) return false;
    const ended = (): boolean => this.#endedAt !== undefined;
    if (!ended()) await condition(ended, lastWaitMs, { summary: 'alert and incident on their way' });
    return true;
  }

  /** The step as the report shows it; failed where the alert is not out. */
  asRecord(): UndoRecord {
    const lines = ['environment locked', ...(this.#incident === undefined ? [] : [`incident ${this.#incident}`])];
    const to = this.#measured ? (this.#endedAt ?? isoNow()) : this.#begun;
    return record('initiate', this.#begun, to, [...lines, ...this.#alert()], !this.#measured || this.#isOut());
  }

  /**
   * Step 7 (specification 2.20): what was kept for the rollback is gone, people know, there is an incident, and the turn is given back.
   *
   * @param unlocks - nothing holds the environment after it.
   */
  asCleanUp(since: string, kept: readonly string[], unlocks: boolean): UndoRecord {
    const incident = this.#incident === undefined ? [] : [`incident ${this.#incident} is open`];
    const turn = unlocks ? 'the turn is given back' : 'the environment is held';
    return record('clean-up', since, isoNow(), [...kept, ...this.#alert(), ...incident, turn]);
  }

  #isOut(): boolean {
    return !this.#calls || this.#out === true;
  }

  #alert(): readonly string[] {
    if (!this.#calls || !this.#measured) return [];
    if (this.#endedAt === undefined) return ['the alert is still on its way'];
    return [this.#out === true ? 'people are told' : 'the alert could not be sent'];
  }
}

function record(
  heading: RollbackStepName,
  startedAt: string,
  to: string,
  lines: readonly string[],
  done = true,
): UndoRecord {
  return { heading, done, startedAt, durationMs: between(startedAt, to), detail: lines.join('; ') };
}
