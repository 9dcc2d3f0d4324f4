import { packageLine } from '../../domain/packages.ts';
import { nameOfRun } from '../../domain/run-start.ts';
import { placeSentence } from '../../domain/run-turn.ts';
import type { QueueView } from '../../store/run-turns.ts';
import type { RunRecord } from '../../store/runs.ts';
import { nameOf } from '../names.ts';
import { relative } from '../time.ts';
import { type TimelineRow, indented } from '../timeline.ts';
import type { Screen } from './screen.ts';

/** A run as a person reads it: how it stands, why, then its stages over time; steps only where something went wrong or goes on. */
export function runPage(run: RunRecord, screen: Screen): string {
  const { paint, nowMs } = screen;
  const state = run.outcome ?? run.phase;
  const lines = [
    `${paint.bold(`${run.project}#${run.number}`)}  ${paint.state(state)}  ${paint.dim(run.version ?? '')}`,
    `  ${shortRef(run.ref)} ${run.commit.slice(0, 12)} by ${run.author}, ${relative(run.acceptedAt, nowMs)}`,
    ...(run.queue === null ? [] : [`  ${queueLine(run.queue, nowMs)}`]),
    ...(run.startedBy === null ? [] : [`  started by ${nameOfRun(run.startedBy)}, stage ${run.startedBy.stage}`]),
    ...(run.message === null ? [] : [`  ${paint.dim(firstLine(run.message))}`]),
    ...(run.reason === null || run.outcome === 'succeeded' ? [] : [`  ${run.reason}`]),
    ...(run.plan?.warnings ?? []).map((warning) => `  ${paint.paint('waiting', `warning: ${warning}`)}`),
  ];
  const rows = runRows(run);
  if (rows.length > 0) lines.push('', ...indented(rows, screen));
  for (const stage of run.stages.filter(({ verdict }) => verdict === 'failed' || verdict === 'errored')) {
    const detail = stage.steps.find((step) => step.verdict === stage.verdict)?.detail ?? stage.detail;
    if (detail !== null) lines.push('', paint.paint('bad', `  ${stage.name}:`), indent(detail));
  }
  if (run.images.length > 0) {
    const images = run.images.map(
      ({ name, digest, reused }) =>
        `  image ${name} ${digest.slice(0, 19)}… ${reused ? 'reused, its inputs were built before' : 'built'}`,
    );
    lines.push('', ...images);
  }
  if (run.packages.length > 0) lines.push('', ...run.packages.map((one) => `  ${packageLine(one)}`));
  if (run.documentation.length > 0) {
    lines.push(
      '',
      ...run.documentation.map(({ stage, name, address }) => `  documentation ${stage}/${name} at ${address}`),
    );
  }
  if (run.starts.length > 0) {
    lines.push(
      '',
      ...run.starts.map(
        (each) => `  ${paint.state(each.outcome ?? each.phase)}  ${nameOfRun(each)}, started by stage ${each.stage}`,
      ),
    );
  }
  if (run.deployments.length > 0) {
    lines.push('', ...run.deployments.map((each) => `  ${paint.state(each.outcome ?? 'going on')}  ${nameOf(each)}`));
  }
  return lines.join('\n');
}

/** Stages, and under those that are bad or still going the steps. */
export function runRows(run: RunRecord): TimelineRow[] {
  return run.stages.flatMap((stage) => {
    const quiet = stage.verdict === 'passed';
    const steps = quiet ? [] : stage.steps.map((step) => row(step, 1));
    // Why it did not run stands nowhere else.
    const told = quiet || stage.verdict === 'inconclusive';
    return [row({ ...stage, detail: told ? stage.detail : null }, 0), ...steps];
  });
}

function row(
  part: {
    readonly name: string;
    readonly verdict: string | null;
    readonly startedAt: string;
    readonly durationMs: number | null;
    readonly detail: string | null;
  },
  indentation: number,
): TimelineRow {
  return {
    name: part.name,
    state: part.verdict ?? 'running',
    startedAt: part.startedAt,
    indent: indentation,
    ...(part.durationMs === null ? {} : { durationMs: part.durationMs }),
    ...(part.detail === null ? {} : { detail: part.detail }),
  };
}

/** For whom it waits, as which of how many, and until when. */
export function queueLine({ waitsFor, position, since, until }: QueueView, nowMs: number): string {
  const place = waitsFor === null ? 'Its turn has come.' : placeSentence({ waitsFor, position });
  return `${place} Since ${relative(since, nowMs)}; expires ${relative(until, nowMs)}.`;
}

export function shortRef(ref: string): string {
  return ref.replace(/^refs\/(?:heads|tags|remotes)\//, '').replace(/^refs\/pull\/(\d+)\/head$/, 'pull request $1');
}

export function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? '';
}

export function indent(text: string): string {
  return text.trimEnd().replaceAll(/^/gm, '    ');
}
