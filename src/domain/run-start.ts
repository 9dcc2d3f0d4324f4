import { matchesRef } from './glob.ts';
import type { SourceEvent } from './run.ts';

/** What a stage starts instead of running steps: a run of another project. */
export interface RunStart {
  readonly project: string;
  /** Full ref; the release branch of the other project when absent. */
  readonly ref?: string;
  /** Ready to be given: nothing is left to be filled in. */
  readonly parameters: Readonly<Record<string, string>>;
  /** The stage ends with the run that it has started, by its outcome; otherwise as soon as that has begun. */
  readonly wait: boolean;
}

/** The run and stage that started a run, and the runs above it, the first one first. */
export interface StartedBy {
  readonly project: string;
  readonly number: number;
  readonly key: string;
  readonly stage: string;
  readonly above: readonly { readonly project: string; readonly number: number }[];
}

/** What a project says of one other project that may start its runs. */
export interface StartRule {
  readonly project: string;
  /** Patterns of the short refs of that project whose runs may. */
  readonly from: readonly string[];
  /** Patterns of its own short refs that may be run. */
  readonly refs: readonly string[];
  /** Its runs go where their route leads; otherwise they are checks only. */
  readonly deploys: boolean;
}

/** Runs that start each other in a row, the first one counted. Judgement: more is a mistake, and each costs a machine its checkout. */
export const mostStartsInARow = 5;

/** A run that wants to start another one. */
export interface Starter {
  readonly project: string;
  readonly number: number;
  readonly event: Pick<SourceEvent, 'ref' | 'fork'>;
  readonly startedBy?: StartedBy;
}

/** `shop#12` */
export function nameOfRun({ project, number }: { readonly project: string; readonly number: number }): string {
  return `${project}#${number}`;
}

/** Why a run must not start one of another project, before that one is asked: a sentence; undefined when nothing stands against it. */
export function whyNoStart(starter: Starter, target: string): string | undefined {
  const row = rowOf(starter);
  if (row.some(({ project }) => project === target)) {
    const way = [...row.map(nameOfRun), target].join(' → ');
    return `It would go in a circle: ${way}.`;
  }
  if (row.length >= mostStartsInARow) {
    const way = row.map(nameOfRun).join(' → ');
    return `${mostStartsInARow} runs have started each other already (${way}), and no more may.`;
  }
  if (starter.event.fork === true) return 'A pull request from a fork starts nothing in another project.';
  return undefined;
}

/** The runs from the first to this one. */
export function rowOf({
  project,
  number,
  startedBy,
}: Pick<Starter, 'project' | 'number' | 'startedBy'>): StartedBy['above'] {
  const own = { project, number };
  if (startedBy === undefined) return [own];
  return [...startedBy.above, { project: startedBy.project, number: startedBy.number }, own];
}

/**
 * The rule by which a run may start one of a ref, the first that fits; undefined: none does.
 *
 * @param ref - full, of the project that is to be run.
 */
export function ruleFor(rules: readonly StartRule[], starter: Starter, ref: string): StartRule | undefined {
  return rules.find(
    ({ project, from, refs }) =>
      project === starter.project &&
      from.some((pattern) => matchesRef(pattern, shortOf(starter.event.ref))) &&
      refs.some((pattern) => matchesRef(pattern, shortOf(ref))),
  );
}

/** As routes have it: branches and tags by their name, pull requests as `pull/7/head`. */
function shortOf(ref: string): string {
  return ref.replace(/^refs\/(?:(?:heads|tags)\/)?/, '');
}

/** A branch's name or a full ref → a full ref. */
export function fullRef(ref: string): string {
  return ref.startsWith('refs/') ? ref : `refs/heads/${ref}`;
}
