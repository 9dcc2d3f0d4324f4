/** What applying a plan does to one resource. `replace` destroys and creates; `forget` only leaves it out of the state. */
export const infrastructureActions = ['create', 'update', 'replace', 'destroy', 'forget'] as const;
export type InfrastructureAction = (typeof infrastructureActions)[number];

/** One resource that a plan changes: where it stands in the definition, and nothing of its values. */
export interface InfrastructureChange {
  /** As the tool writes it: `aws_s3_bucket.reports["eu"]`. */
  readonly address: string;
  readonly action: InfrastructureAction;
}

/** What a saved plan would do. Never a value of anything: a plan holds passwords. */
export interface InfrastructureSummary {
  /** The first {@link shownChanges} of them, what destroys first. */
  readonly changes: readonly InfrastructureChange[];
  readonly counts: Readonly<Record<InfrastructureAction, number>>;
  /** Names of the outputs that change. */
  readonly outputs: readonly string[];
}

/** What a plan of a deployment says of its infrastructure. */
export interface InfrastructurePlan {
  /** Kind of the tool. */
  readonly kind: string;
  /** SHA-256 of the saved plan: what is approved is exactly this file. Empty while it is being made. */
  readonly plan: string;
  /** Name and version of the tool. */
  readonly tool?: string;
  readonly summary?: InfrastructureSummary;
  readonly plannedAt?: string;
}

/** As many are listed in a plan; it lies in histories and is read by people. Judgement. */
export const shownChanges = 50;
/** An address longer than this is cut: the keys of `for_each` are the repository's to choose. Judgement. */
const longestAddress = 200;

/** Sums up changes, the ones that destroy first. */
export function summarise(
  changes: readonly InfrastructureChange[],
  outputs: readonly string[] = [],
): InfrastructureSummary {
  const count = (action: InfrastructureAction): number => changes.filter((each) => each.action === action).length;
  const order: readonly InfrastructureAction[] = ['destroy', 'replace', 'forget', 'update', 'create'];
  return {
    changes: [...changes]
      .sort((a, b) => order.indexOf(a.action) - order.indexOf(b.action) || (a.address < b.address ? -1 : 1))
      .slice(0, shownChanges)
      .map(({ address, action }) => ({ address: printable(address), action })),
    counts: {
      create: count('create'),
      update: count('update'),
      replace: count('replace'),
      destroy: count('destroy'),
      forget: count('forget'),
    },
    outputs: [...outputs].sort().slice(0, shownChanges).map(printable),
  };
}

/** Whether there is anything to apply. */
export function changesAnything({ counts, outputs }: InfrastructureSummary): boolean {
  return outputs.length > 0 || infrastructureActions.some((action) => counts[action] > 0);
}

/** `2 to create, 1 to destroy`, or `nothing to change`. */
export function tellSummary({ counts, outputs }: InfrastructureSummary): string {
  const parts = infrastructureActions.flatMap((action) =>
    counts[action] > 0 ? [`${counts[action]} to ${action}`] : [],
  );
  if (parts.length > 0) return parts.join(', ');
  return outputs.length > 0 ? `only outputs change: ${outputs.join(', ')}` : 'nothing to change';
}

/** A terminal shows it: nothing in it may move the cursor. */
function printable(text: string): string {
  const clean = text.replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069]/g, '?');
  return clean.length <= longestAddress ? clean : `${clean.slice(0, longestAddress)}…`;
}
