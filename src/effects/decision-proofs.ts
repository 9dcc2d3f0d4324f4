import { createHmac, hkdfSync, randomUUID, timingSafeEqual } from 'node:crypto';
import {
  type DecisionProof,
  type ProvableDecision,
  type ProvenDecision,
  canonicalDecision,
  whyOutOfTime,
} from '../domain/decision-proof.ts';

/** Makes proofs of what people decide, and judges them. Whoever has it holds the key: API and workers, never a workflow. */
export interface DecisionProofs {
  prove(decision: ProvableDecision, at?: string): DecisionProof;
  /** @returns why the proof does not hold; undefined: it holds. */
  whyNot(decision: ProvenDecision): string | undefined;
}

/**
 * @param installationKey - the same for API and workers. Proofs have a key of their own, derived from it (HKDF, RFC 5869): nothing else that is
 *   made with the installation's key is a proof, and no proof tells anything of that key.
 */
export function createDecisionProofs(installationKey: string): DecisionProofs {
  const key = Buffer.from(hkdfSync('sha256', installationKey, '', 'slipway decision proof 1', 32));
  const macOf = (decision: ProvableDecision, made: Pick<DecisionProof, 'at' | 'nonce'>): Buffer =>
    createHmac('sha256', key).update(canonicalDecision(decision, made)).digest();
  return {
    prove(decision, at = new Date().toISOString()) {
      const made = { at, nonce: randomUUID() };
      return { ...made, mac: macOf(decision, made).toString('hex') };
    },
    whyNot(decision) {
      const { proof, receivedAt } = decision;
      const given = Buffer.from(proof.mac, 'hex');
      const own = macOf(decision, proof);
      if (given.length !== own.length || !timingSafeEqual(given, own)) {
        return 'its proof is not of this decision, or was made with another key than this installation has';
      }
      return whyOutOfTime(proof, receivedAt);
    },
  };
}
