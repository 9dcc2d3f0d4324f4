import type { BaseReading } from '../activities/contracts.ts';
import { baseBranch, mostOpen } from '../domain/base-image.ts';
import { describeFailure } from '../domain/failures.ts';
import { type UpkeepRound, mostLines } from '../domain/upkeep.ts';
import { call } from './call.ts';
import { offering, rounds } from './proxies/upkeep.ts';
import { showPage } from './progress.ts';

/**
 * Opens a pull request for each base image of a project whose tag has moved, brings those that are open up to date, and closes those that there
 * is nothing left of. What cannot be asked keeps nothing else, and closes nothing.
 */
export async function offerBaseUpdates({ project }: { readonly project: string }): Promise<UpkeepRound> {
  const round = await roundOf(project);
  await call(rounds.recordRound, `${project}: ${round.verdict}`, round);
  showPage(`bases of ${project}`, [round.summary, ...round.lines]);
  return round;
}

async function roundOf(project: string): Promise<UpkeepRound> {
  const common = { kind: 'bases' as const, subject: project, project };
  let reading: BaseReading;
  try {
    reading = await call(offering.readBases, `bases of ${project}`, { project });
  } catch (error) {
    return { ...common, verdict: 'errored', summary: describeFailure(error).message, lines: [], detail: {} };
  }
  const lines: string[] = [];
  const problems: string[] = [];
  const { commit, at, into, bases } = reading;
  const moved = new Map(
    bases.flatMap(({ base, newest }) =>
      newest === undefined || newest === base.digest
        ? []
        : [[baseBranch(project, base.name), { base, newest }] as const],
    ),
  );
  const unknown = bases.filter(({ problem }) => problem !== undefined);
  problems.push(...unknown.map(({ base, problem }) => `${base.name}: ${problem ?? ''}`));
  if (reading.unread !== undefined) {
    problems.push(
      `${reading.unread} more Dockerfiles were not read: the first ${reading.files} are all that is looked at`,
    );
  }
  if (reading.unasked !== undefined) {
    problems.push(
      `${reading.unasked} more bases were not asked for: the first ${bases.length} are all that is looked at`,
    );
  }
  // Those that are open first: they are brought up to date rather than joined by others.
  const offered = new Set(reading.offered.map(({ branch }) => branch));
  const wanted = [...moved].sort(([a], [b]) => Number(offered.has(b)) - Number(offered.has(a)));
  const numbers: Record<string, number> = {};
  let open = 0;
  for (const [branch, { base, newest }] of wanted) {
    if (open >= mostOpen) {
      lines.push(`${base.name} has moved and waits: ${mostOpen} pull requests are open`);
      continue;
    }
    try {
      const input = { project, commit, at, into, branch, base, newest };
      const answer = await call(offering.offerBase, `${base.name} has moved`, input);
      open += 1;
      if (answer.kind === 'open') {
        numbers[branch] = answer.number;
        lines.push(`${base.name}: ${answer.created ? 'opened' : 'open'} ${answer.url}`);
      } else if (answer.kind === 'taken')
        lines.push(`${base.name}: somebody has put commits on ${branch}, it is left alone`);
      else lines.push(`${base.name}: nothing to merge`);
    } catch (error) {
      problems.push(`${base.name}: ${describeFailure(error).message}`);
    }
  }
  // Nobody knows yet whether there is something left to do of a base that could not be asked for, or stands in what was not read.
  const kept = new Set([...moved.keys(), ...unknown.map(({ base }) => baseBranch(project, base.name))]);
  let closed = 0;
  for (const { branch, pullRequest } of reading.offered) {
    if (kept.has(branch) || reading.unread !== undefined || reading.unasked !== undefined) {
      if (pullRequest !== null) numbers[branch] ??= pullRequest;
      continue;
    }
    try {
      const input = { project, branch, pullRequest };
      const { withdrawn } = await call(offering.withdrawBase, `${branch} is not needed`, input);
      closed += 1;
      lines.push(`${branch}: closed${withdrawn ? '' : '; somebody has put commits on it, so it stays'}`);
    } catch (error) {
      if (pullRequest !== null) numbers[branch] = pullRequest;
      problems.push(`${branch}: ${describeFailure(error).message}`);
    }
  }
  const summary = [
    `${bases.length} pinned bases in ${reading.files} Dockerfiles`,
    `${moved.size} moved`,
    ...(closed === 0 ? [] : [`${closed} withdrawn`]),
    ...(problems.length === 0 ? [] : [`${problems.length} problems`]),
  ].join(', ');
  return {
    ...common,
    verdict:
      problems.length > 0 ? 'errored' : moved.size > 0 ? 'failed' : bases.length === 0 ? 'inconclusive' : 'passed',
    summary,
    lines: [...problems, ...lines].slice(0, mostLines),
    detail: { commit, moved: [...moved.keys()], open, closed, numbers },
  };
}
