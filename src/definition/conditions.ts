import { matchesPath, matchesRef } from '../domain/glob.ts';
import type { SourceEvent } from '../domain/run.ts';
import type { RepositoryDefinition } from './repository.ts';

export type Condition = RepositoryDefinition['stages'][number]['when'];

/** What conditions are judged by. */
export interface RunFacts {
  readonly event: Pick<SourceEvent, 'kind' | 'ref'>;
  readonly parameters: Readonly<Record<string, string>>;
  /** Files that differ from the commit before the event; undefined where that cannot be told. */
  readonly changed: readonly string[] | undefined;
}

const branches = 'refs/heads/';

/** Why a condition is not met, as a sentence; undefined where it is. Its outcome is judged when the time has come, not here. */
export function whyNot(when: Omit<Condition, 'outcome'>, { event, parameters, changed }: RunFacts): string | undefined {
  if (when.event !== undefined && !when.event.includes(event.kind)) {
    return `The run is for a ${event.kind}, not for ${oneOf(when.event)}.`;
  }
  if (when.branch !== undefined) {
    if (!event.ref.startsWith(branches)) return `${event.ref} is no branch.`;
    const branch = event.ref.slice(branches.length);
    if (!when.branch.some((pattern) => matchesRef(pattern, branch))) {
      return `The branch is ${branch}, not ${oneOf(when.branch)}.`;
    }
  }
  for (const [name, values] of Object.entries(when.parameter ?? {})) {
    const value = parameters[name];
    if (value === undefined) return `The run has no parameter ${name}.`;
    if (!values.includes(value)) return `The parameter ${name} is not ${oneOf(values)}.`;
  }
  const { path } = when;
  if (path === undefined || changed === undefined) return undefined;
  if (changed.some((file) => path.some((glob) => matchesPath(glob, file)))) return undefined;
  return `Nothing changed in ${oneOf(path)}.`;
}

/** Whether any condition of a document asks which files have changed. */
export function asksForChanges({
  stages,
  imageGroups = {},
}: Pick<RepositoryDefinition, 'stages' | 'imageGroups'>): boolean {
  const ofStages = stages.flatMap(({ when, steps }) => [when, ...steps.map((step) => step.when)]);
  const ofGroups = Object.values(imageGroups).map(({ when }) => when);
  return [...ofStages, ...ofGroups].some((when) => when?.path !== undefined);
}

function oneOf(words: readonly string[]): string {
  const most = 5;
  const said = words.slice(0, most).join(', ');
  return words.length > most ? `${said} or ${words.length - most} more` : said.replace(/, ([^,]*)$/, ' or $1');
}
