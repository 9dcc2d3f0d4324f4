import type { OutdatedReading } from '../activities/contracts.ts';
import { type DependencyGroup, dependencyBranches, dependencyGroups } from '../domain/dependency-update.ts';
import { describeFailure } from '../domain/failures.ts';
import { type UpkeepRound, mostLines } from '../domain/upkeep.ts';
import { call } from './call.ts';
import { rounds, updating } from './proxies/upkeep.ts';
import { showPage } from './progress.ts';

/**
 * Opens pull requests for dependencies of a project that have newer versions, brings those that are open up to date, and closes those that there
 * is nothing left of. What cannot be read or asked keeps nothing else, and closes nothing of its ecosystem.
 */
export async function offerDependencyUpdates({ project }: { readonly project: string }): Promise<UpkeepRound> {
  const round = await roundOf(project);
  await call(rounds.recordRound, `${project}: ${round.verdict}`, round);
  showPage(`dependencies of ${project}`, [round.summary, ...round.lines]);
  return round;
}

/** What a round has done, as it goes on. */
interface Doings {
  readonly lines: string[];
  readonly problems: string[];
  readonly numbers: Record<string, number>;
}

async function roundOf(project: string): Promise<UpkeepRound> {
  const common = { kind: 'dependencies' as const, subject: project, project };
  let reading: OutdatedReading;
  try {
    reading = await call(updating.readOutdated, `dependencies of ${project}`, { project });
  } catch (error) {
    return { ...common, verdict: 'errored', summary: describeFailure(error).message, lines: [], detail: {} };
  }
  const doings: Doings = { lines: [], problems: problemsOf(reading), numbers: {} };
  const groups = dependencyGroups(project, reading.updates, reading.group);
  const open = await offerAll(project, reading, groups, doings);
  const closed = await withdrawRest(project, reading, groups, doings);
  const { lines, problems, numbers } = doings;
  const fixing = reading.updates.filter(({ fixes }) => fixes.length > 0).length;
  const outdated = reading.updates.length + reading.unlisted;
  const summary = [
    `${reading.dependencies} pinned dependencies in ${reading.manifests} manifests`,
    `${outdated} outdated`,
    ...(fixing === 0 ? [] : [`${fixing} with a fix of an advisory`]),
    ...(closed === 0 ? [] : [`${closed} withdrawn`]),
    ...(problems.length === 0 ? [] : [`${problems.length + reading.untold} problems`]),
  ].join(', ');
  return {
    ...common,
    verdict:
      problems.length > 0
        ? 'errored'
        : outdated > 0
          ? 'failed'
          : reading.dependencies === 0
            ? 'inconclusive'
            : 'passed',
    summary,
    lines: [...problems, ...lines, ...reading.ignored].slice(0, mostLines),
    detail: {
      commit: reading.commit,
      outdated: reading.updates.map(({ manifest, name, version, to, fixes }) => ({
        manifest,
        name,
        version,
        to,
        fixes,
      })),
      ...{ open, closed, numbers },
    },
  };
}

function problemsOf({ problems, untold, unlisted, updates }: OutdatedReading): string[] {
  return [
    ...problems.map(({ manifest, problem }) => `${manifest}: ${problem}`),
    ...(untold === 0 ? [] : [`${untold} more problems of that kind`]),
    ...(unlisted === 0 ? [] : [`${unlisted} more are outdated: ${updates.length} are all that is offered at once`]),
  ];
}

/** @returns how many are open. */
async function offerAll(
  project: string,
  { commit, at, into, most, offered }: OutdatedReading,
  groups: readonly DependencyGroup[],
  { lines, problems, numbers }: Doings,
): Promise<number> {
  // Those that are open first: they are brought up to date rather than joined by others. What fixes an advisory goes before both.
  const there = new Set(offered.map(({ branch }) => branch));
  const fixes = ({ updates }: DependencyGroup): boolean => updates.some((update) => update.fixes.length > 0);
  const inOrder = groups.toSorted(
    (one, other) =>
      Number(fixes(other)) - Number(fixes(one)) || Number(there.has(other.branch)) - Number(there.has(one.branch)),
  );
  let open = 0;
  for (const group of inOrder) {
    const what = describe(group);
    if (open >= most) {
      lines.push(`${what} waits: ${most} pull requests are open`);
      continue;
    }
    try {
      const answer = await call(updating.offerDependencies, what, { project, commit, at, into, group });
      problems.push(...answer.problems);
      if (answer.kind === 'nothing-made') continue;
      open += 1;
      if (answer.kind === 'open') {
        numbers[group.branch] = answer.number;
        lines.push(`${what}: ${answer.created ? 'opened' : 'open'} ${answer.url}`);
      } else if (answer.kind === 'taken') {
        lines.push(`${what}: somebody has put commits on ${group.branch}, it is left alone`);
      } else lines.push(`${what}: nothing to merge`);
    } catch (error) {
      problems.push(`${what}: ${describeFailure(error).message}`);
    }
  }
  return open;
}

function describe({ ecosystem, updates }: DependencyGroup): string {
  const [only, ...others] = updates;
  if (only !== undefined && others.length === 0) return `${only.name} ${only.version} → ${only.to}`;
  return `${updates.length} updates (${ecosystem})`;
}

/** @returns how many were closed. */
async function withdrawRest(
  project: string,
  { offered, problems: unknown, untold, unlisted }: OutdatedReading,
  groups: readonly DependencyGroup[],
  { lines, problems, numbers }: Doings,
): Promise<number> {
  const wanted = new Set(groups.map(({ branch }) => branch));
  const unread = new Set(unknown.map(({ ecosystem }) => dependencyBranches(project, ecosystem)));
  let closed = 0;
  for (const { branch, pullRequest } of offered) {
    // Nobody knows whether there is something left to do of an ecosystem of which something could not be read or asked.
    const mayBeNeeded = untold > 0 || unlisted > 0 || [...unread].some((prefix) => branch.startsWith(prefix));
    if (wanted.has(branch) || mayBeNeeded) {
      if (pullRequest !== null) numbers[branch] ??= pullRequest;
      continue;
    }
    try {
      const input = { project, branch, pullRequest };
      const { withdrawn } = await call(updating.withdrawDependencies, `${branch} is not needed`, input);
      closed += 1;
      lines.push(`${branch}: closed${withdrawn ? '' : '; somebody has put commits on it, so it stays'}`);
    } catch (error) {
      if (pullRequest !== null) numbers[branch] = pullRequest;
      problems.push(`${branch}: ${describeFailure(error).message}`);
    }
  }
  return closed;
}
