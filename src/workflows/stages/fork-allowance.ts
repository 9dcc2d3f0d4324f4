import { condition, patched, setHandler, workflowInfo } from '@temporalio/workflow';
import type { DecisionProof } from '../../domain/decision-proof.ts';
import { failure } from '../../domain/failures.ts';
import { type ForkWait, whyNoWord } from '../../domain/fork-word.ts';
import type { RunRef, SourceEvent } from '../../domain/run.ts';
import { nameOfRun } from '../../domain/run-start.ts';
import { sentences } from '../../domain/sentences.ts';
import type { ForgeTeller } from '../forge-teller.ts';
import { accept, readAllow } from '../inbound.ts';
import { type AllowMessage, type RunView, allowRunSignal, allowRunUpdate, provableWord } from '../messages.ts';
import { isoNow } from '../progress.ts';
import { ProofCheck, refused } from './proof-check.ts';

/** What it needs of its run. */
interface Waiting {
  readonly event: SourceEvent;
  readonly forge: ForgeTeller;
  /** Of the history before. */
  readonly allowed: RunView['allowed'];
  readonly toTell: RunRef | undefined;
  /** Whether a word would still be of use. */
  readonly waits: () => boolean;
  readonly onAllow: () => void;
  /** Enters the wait for a word. */
  readonly enter: () => void;
}

/** A maintainer's word that the commit of a fork may be run: whether there is one, and the wait for it. */
export class ForkAllowance {
  readonly #run: Waiting;
  readonly #proofs = new ProofCheck();
  allowed: RunView['allowed'];
  /** The run of a fork's pull request, where its forge is told of it. */
  toTell: RunRef | undefined;

  constructor(run: Waiting) {
    this.#run = run;
    this.allowed = run.allowed;
    this.toTell = run.toTell;
    setHandler(
      allowRunSignal,
      (raw) => {
        const read = readAllow(raw);
        if (read.ok && whyNoWord(read.value, this.#known()) === undefined) {
          this.#allow({ ...read.value, proven: false });
        }
      },
      { description: 'Lets the commit of a fork be run: {"by": "…", "commit": "…"}' },
    );
    setHandler(
      allowRunUpdate,
      (raw) => {
        const word = accept(readAllow(raw));
        // What was told before there were proofs is taken again at its word.
        if (!patched('2026-11-26-proof')) this.#allow(word);
        else if (word.proof !== undefined) return this.#allowProven(word, word.proof);
        else this.#allow({ ...word, proven: false });
        return { accepted: true } as const;
      },
      {
        validator: (raw) => {
          const word = accept(readAllow(raw));
          this.#demand(word);
          const used = word.proof === undefined ? undefined : this.#proofs.refuses(word.proof);
          if (used !== undefined) throw refused(used);
        },
      },
    );
  }

  /** Waits for the word. @returns false when nobody gave it in time. */
  async given(run: RunRef, timeoutMs: number): Promise<boolean> {
    // The API says it as soon as the run is on record, which may be before this workflow knows.
    if (this.allowed !== undefined) return true;
    const { enter, forge, event } = this.#run;
    enter();
    const command = `slipway allow ${nameOfRun(run)} --commit ${event.after.slice(0, 12)}`;
    if (this.toTell !== undefined) forge.updateAlone(run, 'pending', `Waits for a maintainer: ${command}`);
    if (await condition(() => this.allowed !== undefined, timeoutMs, { summary: `for ${command}` })) return true;
    await this.#proofs.settled();
    return this.#isGiven;
  }

  get #isGiven(): boolean {
    return this.allowed !== undefined;
  }

  /** @throws what is wrong with a word at this moment */
  #demand(word: AllowMessage): void {
    const wrong = whyNoWord(word, this.#known());
    if (wrong !== undefined) throw failure(wrong.type, sentences(wrong.why));
  }

  #allowProven(word: AllowMessage, proof: DecisionProof): Promise<{ readonly accepted: true }> {
    return this.#proofs.of(provableWord(workflowInfo().workflowId, word), proof, (proven) => {
      if (proven.refusal !== undefined) throw refused(proven.refusal, proven.nonce);
      // Somebody else may have said it while the proof was looked at.
      this.#demand(word);
      this.#allow({ ...word, proven: true });
      return { accepted: true } as const;
    });
  }

  #known(): ForkWait {
    return { event: this.#run.event, allowedBy: this.allowed?.by, waits: this.#run.waits() };
  }

  #allow({ by, proven = false }: AllowMessage): void {
    this.allowed = { by, proven, at: isoNow() };
    this.#run.onAllow();
  }
}
