/** What somebody decides of a deployment or a run, as far as the API can prove it: all of it is under the proof. */
export interface ProvableDecision {
  /** The workflow that is told; its id names project, environment and number, so that a proof is of no use for another one. */
  readonly workflowId: string;
  readonly verb: 'approve' | 'reject' | 'allow';
  /** What was looked at, as it was named: a plan by its hash, a commit. */
  readonly about: string;
  readonly by: string;
  /** Of the token, at the moment of the decision. */
  readonly groups: readonly string[];
  readonly comment?: string | undefined;
}

/** The word of the API that it has let this person decide this. It goes beside the decision and holds no secret. */
export interface DecisionProof {
  /** When it was made, ISO 8601, by the clock of the API. */
  readonly at: string;
  /** Makes it one of its kind: it counts once. */
  readonly nonce: string;
  /** HMAC-SHA256 over {@link canonicalDecision}, hexadecimal. */
  readonly mac: string;
}

/** A decision with its proof, as it came in. */
export interface ProvenDecision extends ProvableDecision {
  readonly proof: DecisionProof;
  /** When it came in, ISO 8601, by the clock of the workflow: what takes longer afterwards makes no proof old. */
  readonly receivedAt: string;
}

/**
 * How far the moments at which a proof was made and came in may be apart, ms: the clocks of two machines, and what was under way. As long as
 * Slack lets its signatures be.
 *
 * @see https://docs.slack.dev/authentication/verifying-requests-from-slack
 */
export const proofLastsMs = 300_000;

/**
 * What is signed. A list in JSON, so that no two decisions have the same text, whatever stands in a name or comment; the first entry tells it
 * from everything else that may ever be signed.
 */
export function canonicalDecision(
  { workflowId, verb, about, by, groups, comment }: ProvableDecision,
  { at, nonce }: Pick<DecisionProof, 'at' | 'nonce'>,
): string {
  return JSON.stringify(['slipway decision 1', workflowId, verb, about, by, groups, comment ?? null, at, nonce]);
}

/** @returns why a proof, genuine as it may be, is of another time than the decision that came in with it; undefined: it is not. */
export function whyOutOfTime({ at }: Pick<DecisionProof, 'at'>, receivedAt: string): string | undefined {
  const apart = Date.parse(receivedAt) - Date.parse(at);
  if (Math.abs(apart) <= proofLastsMs) return undefined;
  return `its proof is of ${at} and came in at ${receivedAt}: at most ${proofLastsMs / 60_000} minutes may lie between`;
}
