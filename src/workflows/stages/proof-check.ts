import type { Refusal } from '../../domain/approval.ts';
import type { DecisionProof, ProvableDecision, ProvenDecision } from '../../domain/decision-proof.ts';
import { failure } from '../../domain/failures.ts';
import { sentences } from '../../domain/sentences.ts';
import { callAnyway } from '../call.ts';
import { isoNow } from '../progress.ts';
import { proofs } from '../proxies/record.ts';

/** What was found out about a proof. */
export type Proven =
  | { readonly decision: ProvenDecision; readonly refusal?: undefined }
  /** `nonce`: whose answer this is, for a sender who gets the same answer to two messages. */
  | { readonly refusal: Refusal; readonly nonce: string };

/** Proofs of what people decide here: each is looked at where the key is, and is of use once. */
export class ProofCheck {
  readonly #used = new Set<string>();
  readonly #underWay = new Set<Promise<unknown>>();

  /** For validators, who can look at no key. */
  refuses({ nonce }: DecisionProof): Refusal | undefined {
    if (!this.#used.has(nonce)) return undefined;
    return { type: 'Conflict', why: 'This proof was used before, and a proof is for one decision.' };
  }

  /**
   * @param take - what becomes of the decision then. What could not be looked at is refused, and may be decided again.
   * @throws what `take` throws, and nothing else.
   */
  async of<R>(decision: ProvableDecision, proof: DecisionProof, take: (proven: Proven) => R): Promise<R> {
    const used = this.refuses(proof);
    if (used !== undefined) return take({ refusal: used, nonce: proof.nonce });
    this.#used.add(proof.nonce);
    const received = { ...decision, proof, receivedAt: isoNow() };
    const taken = (async () => take(await this.#look(received)))();
    this.#underWay.add(taken);
    try {
      return await taken;
    } finally {
      this.#underWay.delete(taken);
    }
  }

  /** Those that have come in by now were looked at and taken: what was decided in time counts, however long that takes. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#underWay);
  }

  async #look(decision: ProvenDecision): Promise<Proven> {
    const { by, verb, proof } = decision;
    const { nonce } = proof;
    try {
      const found = await callAnyway(proofs.readProof, `${by}: ${verb}, is it proven?`, decision);
      if (found.holds) return { decision };
      return {
        refusal: { type: 'ProofRefused', why: `${by} has not decided this as far as is known: ${found.why}` },
        nonce,
      };
    } catch {
      const why = `Whether ${by} has decided this could not be found out: no worker has looked at the proof in time`;
      return { refusal: { type: 'TimedOut', why }, nonce };
    }
  }
}

/** For the sender of an update. */
export function refused({ type, why }: Refusal, nonce?: string): Error {
  return failure(type, sentences(why), nonce === undefined ? {} : { details: { nonce } });
}
