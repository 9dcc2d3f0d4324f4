import type { ForgeStatus } from './deployment.ts';
import type { StartedBy } from './run-start.ts';
import type { SourceEvent } from './run.ts';

export type ToldStatus = Omit<ForgeStatus, 'context'>;

/** What a run has told of its commit so far. */
export interface ToldRun {
  readonly number: number;
  readonly kind: SourceEvent['kind'];
  readonly ref: string;
  readonly author: string;
  readonly startedBy: StartedBy | undefined;
  readonly release: string | undefined;
  /** By context, as workflows name it. */
  readonly told: Readonly<Record<string, ToldStatus>>;
}

/** Which runs have their statuses under names of their own: what is no check of the commit, but was only run at it. */
export type Occasion = 'schedule' | 'started';

export function occasionOf({ kind, startedBy }: Pick<ToldRun, 'kind' | 'startedBy'>): Occasion | undefined {
  if (startedBy !== undefined) return 'started';
  return kind === 'schedule' ? 'schedule' : undefined;
}

/**
 * What a commit's status of this context is by all its runs: the worst of what they say, so that no run makes green what another one found red.
 * A run that is done again speaks for the one before it. Who abstains (a stage that was left out, a pull request that was skipped, a run in
 * whose place a newer one runs) is heard where nobody else speaks.
 *
 * @param own - a run whose words are among those of {@link runs}; of the same occasion alone others are heard.
 * @returns undefined where nobody has told of the context.
 */
export function commitStatus(
  context: string,
  own: Pick<ToldRun, 'kind' | 'startedBy'>,
  runs: readonly ToldRun[],
): (ToldStatus & { readonly run: number }) | undefined {
  const occasion = occasionOf(own);
  const said = runs
    .filter((run) => occasionOf(run) === occasion)
    .toSorted((a, b) => a.number - b.number)
    .flatMap((run) => {
      const status = run.told[context];
      if (status === undefined) return [];
      // Of a release that was made before nothing was run.
      const abstains = status.abstains === true || run.release !== undefined;
      return [{ ...status, abstains, run, isSkipped: status.abstains === true && status.state === 'pending' }];
    });
  const newest = new Map<string, (typeof said)[number]>();
  for (const one of said) {
    const voice = voiceOf(one.run);
    const before = newest.get(voice);
    if (before === undefined || takesPlace(one, before)) newest.set(voice, one);
  }
  const all = [...newest.values()];
  const heard = all.some(({ abstains }) => !abstains) ? all.filter(({ abstains }) => !abstains) : all;
  const [worst] = heard.sort((a, b) => ranks[b.state] - ranks[a.state] || b.run.number - a.run.number);
  return worst && { state: worst.state, description: worst.description, run: worst.run.number };
}

interface Said {
  readonly state: ToldStatus['state'];
  readonly abstains: boolean;
  /** A pull request of which nothing was run. */
  readonly isSkipped: boolean;
}

/**
 * Whether what a run says stands in the place of what an earlier one of its voice has said. Who has looked at nothing leaves that as it is, but for the
 * success of a pull request that is skipped now: it has another target, and what is asked for there was not run.
 */
function takesPlace(later: Said, before: Said): boolean {
  if (!later.abstains || before.abstains) return true;
  return later.isSkipped && before.state === 'success';
}

const ranks = { success: 0, pending: 1, failure: 2, error: 2 } as const satisfies Readonly<
  Record<ForgeStatus['state'], number>
>;

/** Whose later runs speak for the earlier ones. Another ref is another voice: its conditions may leave out what failed. */
function voiceOf({ kind, ref, author, startedBy }: ToldRun): string {
  const by = startedBy === undefined ? '' : `${startedBy.project}/${startedBy.stage}`;
  // The author of a schedule is its name.
  return JSON.stringify([kind, ref, kind === 'schedule' ? author : by]);
}
