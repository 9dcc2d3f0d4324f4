import { createDecisionProofs } from '../../src/effects/decision-proofs.ts';

/** Of the API and the workers of the tests. */
export const testProofs = createDecisionProofs('the key of this installation');
/** Of somebody who has another key. */
export const foreignProofs = createDecisionProofs('the key of another installation');
