import type { LiveRelease } from '../../domain/release.ts';
import { placeSentence } from '../../domain/run-turn.ts';
import { withoutControls } from '../../effects/control.ts';
import type { DeploymentSummary } from '../../store/deployments.ts';
import type { Incident } from '../../store/incidents.ts';
import type { StoredRelease } from '../../store/releases.ts';
import type { RunSummary } from '../../store/runs.ts';
import type { EnvironmentView } from '../../workflows/messages.ts';
import type { NextCommand } from '../exit.ts';
import { nameOf } from '../names.ts';
import { duration, relative } from '../time.ts';
import type { Painter } from '../words.ts';
import { firstLine, shortRef } from './run.ts';
import type { Screen } from './screen.ts';

/** Rows in columns; the last column takes what is left. Widths are counted without colours. */
export function columnsOf(rows: readonly (readonly string[])[], columns: number): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [index, cell] of row.entries()) widths[index] = Math.max(widths[index] ?? 0, plainLength(cell));
  }
  return rows.map((row) => {
    let left = columns;
    return row
      .map((cell, index) => {
        const last = index === row.length - 1;
        const text =
          last && plainLength(cell) > left && left > 8 && !cell.includes('\u001b')
            ? `${cell.slice(0, left - 1)}…`
            : cell;
        left -= (widths[index] ?? 0) + 2;
        return last ? text : text + ' '.repeat((widths[index] ?? 0) - plainLength(cell));
      })
      .join('  ')
      .trimEnd();
  });
}

const colourCodes = /\u001b\[[0-9;]*m/g;

function plainLength(text: string): number {
  return text.replaceAll(colourCodes, '').length;
}

/** What matters first: what is bad, what waits for somebody, what goes on, then the rest by time. */
export function byUrgency<T extends { readonly outcome: string | null; readonly phase: string }>(
  items: readonly T[],
): T[] {
  const rank = ({ outcome, phase }: T): number => {
    if (outcome === null) return phase === 'awaiting-approval' || phase === 'awaiting-word' ? 0 : 1;
    return 2;
  };
  return [...items].sort((a, b) => rank(a) - rank(b));
}

export function runList(runs: readonly RunSummary[], { paint, nowMs, columns }: Screen): string {
  if (runs.length === 0) return 'No runs yet.';
  const rows = byUrgency(runs).map((run) => [
    paint.state(run.outcome ?? run.phase),
    `${run.project}#${run.number}`,
    shortRef(run.ref),
    run.version ?? run.commit.slice(0, 8),
    relative(run.acceptedAt, nowMs),
    run.settledAt === null ? '' : duration(Date.parse(run.settledAt) - Date.parse(run.acceptedAt)),
    firstLine(aboutRun(run)),
  ]);
  return columnsOf(rows, columns).join('\n');
}

/** Why it is bad, or for whom it waits; else what was changed. */
function aboutRun({ outcome, reason, message, queue }: RunSummary): string {
  if (outcome === 'failed' || outcome === 'errored') return reason ?? '';
  if (queue !== null && queue.waitsFor !== null) return placeSentence({ ...queue, waitsFor: queue.waitsFor });
  return message ?? '';
}

export function deploymentList(deployments: readonly DeploymentSummary[], { paint, nowMs, columns }: Screen): string {
  if (deployments.length === 0) return 'No deployments yet.';
  const rows = byUrgency(deployments).map((each) => [
    paint.state(each.outcome ?? each.phase),
    nameOf(each),
    each.kind === 'rollback' ? `back to ${each.version}` : each.version,
    relative(each.requestedAt, nowMs),
    each.settledAt === null ? '' : duration(Date.parse(each.settledAt) - Date.parse(each.requestedAt)),
    firstLine(each.outcome === 'succeeded' ? '' : (each.reason ?? each.phaseDetail ?? '')),
  ]);
  return columnsOf(rows, columns).join('\n');
}

export function releaseList(releases: readonly StoredRelease[], { nowMs, columns }: Screen): string {
  if (releases.length === 0) return 'No releases yet.';
  const rows = releases.map((release) => [
    release.version,
    `${release.project}#${release.build}`,
    release.commit.slice(0, 12),
    relative(release.createdAt, nowMs),
    release.author,
    release.images.map((image) => `${image.name}@${image.digest.slice(7, 19)}`).join(' '),
  ]);
  return columnsOf(rows, columns).join('\n');
}

/** An environment with its face: what is live, what was before, who has the turn, who waits, and why nothing may go in. */
export function environmentPage(view: EnvironmentView, { paint, nowMs }: Screen): string {
  const name = `${view.project}/${view.environment}`;
  const lines = [paint.bold(name)];
  lines.push(`  live      ${releaseLine(view.live, paint, nowMs)}`);
  lines.push(`  previous  ${previousLine(view, paint, nowMs)}`);
  if (view.scan !== undefined && view.scan !== null) {
    const { verdict, summary, at } = view.scan;
    lines.push(`  scanned   ${paint.state(verdict)} ${relative(at, nowMs)}: ${withoutControls(summary)}`);
    if (verdict !== 'passed') lines.push(...view.scan.lines.map((line) => `            ${withoutControls(line)}`));
  }
  if (view.hold !== null) {
    lines.push(
      `  ${paint.paint('bad', `${paint.ascii ? 'x' : '✖'} ${view.hold.state}`)} since ${relative(view.hold.since, nowMs)} by ${view.hold.by}: ${view.hold.reason}`,
    );
  }
  if (view.frozenUntil !== null) lines.push(`  frozen until ${view.frozenUntil}`);
  if (view.current !== null) {
    const doing = view.current.changing ? 'changing it' : 'preparing';
    lines.push(
      `  ${paint.icon('going')} ${view.current.kind} ${name}/${view.current.number}, ${doing}, since ${relative(view.current.since, nowMs)}`,
    );
  }
  for (const waiting of view.queue) {
    lines.push(
      `  ${paint.icon('waiting')} ${name}/${waiting.number} (${waiting.version}, ${waiting.priority}) waits since ${relative(waiting.since, nowMs)}`,
    );
  }
  return lines.join('\n');
}

/** What to type while nothing may go in. */
export function environmentNext(view: EnvironmentView): NextCommand[] {
  const name = `${view.project}/${view.environment}`;
  if (view.hold === null || view.hold.state === 'frozen') return [];
  return [
    {
      command: `slipway reconcile ${name} --reason "…"`,
      when: 'to read the target and take what runs there as the truth',
    },
    {
      command: `slipway unlock ${name} --state-is ${view.live?.version ?? 'none'} --reason "…"`,
      when: 'to say yourself what is live, and let releases in again',
    },
    // After a workflow that ended without a word nobody knows what was to be undone.
    ...(view.hold.state === 'unknown'
      ? []
      : [
          {
            command: `slipway retry ${name} --reason "…"`,
            when: 'to try again what could not be undone, or bring back the data',
          },
        ]),
  ];
}

export function incidentList(incidents: readonly Incident[], { paint, nowMs, columns }: Screen): string {
  if (incidents.length === 0) return 'No incidents.';
  const rows = incidents.map((incident) => [
    incident.closedAt === null ? paint.paint('bad', 'open') : 'closed',
    incident.id,
    relative(incident.openedAt, nowMs),
    incident.closedAt === null ? `post-mortem due ${relative(incident.postMortemDueAt, nowMs)}` : '',
    firstLine(incident.summary),
  ]);
  return columnsOf(rows, columns).join('\n');
}

function previousLine({ previous, previousStopped, retireAt }: EnvironmentView, paint: Painter, nowMs: number): string {
  if (previous !== null && previousStopped === true) {
    return `${paint.bold(previous.version)}, ${previous.commit.slice(0, 8)}${paint.dim(', stopped: a rollback starts it again')}`;
  }
  const line = releaseLine(previous, paint, nowMs);
  return retireAt === null ? line : `${line}${paint.dim(`, to be stopped ${relative(retireAt, nowMs)}`)}`;
}

function releaseLine(live: LiveRelease | null, paint: Painter, nowMs: number): string {
  if (live === null) return paint.dim('nothing');
  return `${paint.bold(live.version)} in ${live.slot}, ${live.commit.slice(0, 8)}, since ${relative(live.since, nowMs)}`;
}
