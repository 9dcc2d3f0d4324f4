/** What a forge must ask of changes before they get into a branch, as S3-34 to S3-38 and S4-68 to S4-72 have it, and where it differs (A-13b). */

/** What a forge asks; null where it does not say, which is never taken for yes. */
export interface BranchProtection {
  /** Changes get in by pull request only. */
  readonly pullRequest: boolean | null;
  /** Approvals that a pull request needs. */
  readonly approvals: number | null;
  /** The project's own check must pass; at a forge that knows no names, whatever was checked. */
  readonly statusChecks: boolean | null;
  /** All that must pass, by name or pattern; absent where the forge knows no names. */
  readonly checkNames?: readonly string[];
  /** What is merged was checked together with what the branch has by then. */
  readonly upToDate: boolean | null;
  /** New commits take earlier approvals away. */
  readonly dismissesStale: boolean | null;
  /** All of this holds for administrators too. */
  readonly administrators: boolean | null;
  /** Who can push past all of it. */
  readonly pushers: Pushers | null;
}

/** From the strictest on. */
export const pushers = ['nobody', 'administrators', 'others'] as const;
export type Pushers = (typeof pushers)[number];

/** What the project wants; what is left out is not looked at. */
export interface WantedProtection {
  readonly branch: string;
  /** The check that stands for all jobs of Slipway's (S4-68), as the forge has it: `slipway/<project>`. */
  readonly check: string;
  readonly approvals: number;
  readonly upToDate: boolean;
  readonly dismissesStale: boolean;
  readonly administrators: boolean;
  /** Nobody but administrators may push past it. */
  readonly onlyAdministratorsPush: boolean;
}

/** One branch as it was found, or the reason why it could not be looked at. */
export type ProtectionReading =
  | { readonly wanted: WantedProtection; readonly found: BranchProtection }
  | { readonly wanted: WantedProtection; readonly refused: string };

/** A branch that nothing protects. */
export const unprotected: BranchProtection = {
  pullRequest: false,
  approvals: 0,
  statusChecks: false,
  upToDate: false,
  dismissesStale: false,
  administrators: false,
  pushers: 'others',
};

/** What differs, and what could not be found out; one line each. */
export interface ProtectionDifferences {
  readonly differing: readonly string[];
  readonly unknown: readonly string[];
}

/** Compares what one branch has with what it should have. */
export function compareProtection(reading: ProtectionReading): ProtectionDifferences {
  const { wanted } = reading;
  if ('refused' in reading) return { differing: [], unknown: [reading.refused] };
  const { found } = reading;
  const differing: string[] = [];
  const unknown: string[] = [];
  function ask<Fact>(fact: Fact | null, what: string, holds: (fact: Fact) => boolean, otherwise: string): void {
    if (fact === null) unknown.push(`the forge does not say ${what}`);
    else if (!holds(fact)) differing.push(otherwise);
  }
  const isSo = (fact: boolean): boolean => fact;
  ask(found.pullRequest, 'whether a pull request is needed', isSo, 'changes get in without a pull request');
  ask(found.statusChecks, 'which status checks must pass', isSo, withoutCheck(wanted.check, found.checkNames));
  if (wanted.approvals > 0) {
    const few = `${found.approvals ?? 0} approvals are needed, ${wanted.approvals} should be`;
    ask(found.approvals, 'how many approvals are needed', (count) => count >= wanted.approvals, few);
  }
  if (wanted.upToDate) {
    ask(found.upToDate, 'whether a branch must be up to date', isSo, 'a branch may be merged that is not up to date');
  }
  if (wanted.dismissesStale) {
    ask(found.dismissesStale, 'what becomes of stale approvals', isSo, 'approvals stay after new commits');
  }
  if (wanted.administrators) {
    ask(found.administrators, 'whether administrators are included', isSo, 'administrators are not included');
  }
  if (wanted.onlyAdministratorsPush) {
    const past = 'others than administrators may push past it';
    ask(found.pushers, 'who may push', (who) => who !== 'others', past);
  }
  return { differing, unknown };
}

const mostNames = 3;

/** That of another tool, or of one stage, says nothing of the rest. */
function withoutCheck(check: string, names: readonly string[] = []): string {
  if (names.length === 0) return 'no status check must pass';
  const more = names.length > mostNames ? ` and ${names.length - mostNames} more` : '';
  return `the check ${check} need not pass, only ${names.slice(0, mostNames).join(', ')}${more}`;
}
