import type { DecisionProofs } from '../effects/decision-proofs.ts';
import type { ProofActivities } from './contracts.ts';

/** Looks at proofs where the key is: a workflow cannot have it, for nothing secret may come into a history. */
export function createProofActivities({ proofs }: { readonly proofs: DecisionProofs }): ProofActivities {
  return {
    readProof: (decision) => {
      const why = proofs.whyNot(decision);
      return Promise.resolve(why === undefined ? { holds: true } : { holds: false, why });
    },
  };
}
