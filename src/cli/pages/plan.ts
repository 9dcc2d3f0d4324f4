import type { GateLine } from '../../domain/evidence.ts';
import { infrastructureActions, tellSummary } from '../../domain/infrastructure.ts';
import type { Plan } from '../../domain/plan.ts';
import { nameOf } from '../names.ts';
import { duration } from '../time.ts';
import type { Painter } from '../words.ts';

const shortHash = 8;
const shownCommits = 8;

/** What approval is asked for, as a person reads it: what changes first, then what could go wrong, then what was looked at. */
export function planPage(plan: Plan, paint: Painter): string {
  const { identity, changes, policy } = plan;
  const lines = [
    paint.bold(`Plan ${plan.hash.slice(0, shortHash)} for ${nameOf(plan.deployment)}`),
    field('version', `${changes.fromVersion ?? 'nothing'} → ${paint.bold(identity.release.version)}`),
    field('commit', identity.release.commit.slice(0, 12)),
    ...identity.release.images.map((image) => field('image', `${image.name} ${image.digest.slice(0, 19)}…`)),
    field('target', `${identity.target.name} (${identity.target.kind}), ${identity.strategy.kind}`),
    field('changes', changesLine(plan)),
    ...changes.commits
      .slice(0, shownCommits)
      .map((commit) => field('', paint.dim(`${commit.sha.slice(0, 8)} ${commit.author}: ${commit.subject}`))),
    ...(changes.commits.length > shownCommits
      ? [field('', paint.dim(`and ${changes.commits.length - shownCommits} more`))]
      : []),
    ...listed('configuration', changes.configurationKeys, 'unchanged'),
    field('definition', changes.definitionChanged ? paint.paint('waiting', 'changed') : 'unchanged'),
    ...listed(
      'migrations',
      identity.migrations.map((migration) => `${migration.name} (${migration.kind})`),
      'none',
    ),
    ...infrastructureLines(plan, paint),
    ...listed('checks', plan.checks, 'none were recorded'),
    ...(plan.gates === undefined ? [] : listed('gates', plan.gates.map(gateLine), 'none')),
    field('backup', backupLine(plan)),
    ...plan.estimate.problems.map((problem) => field('', paint.paint('bad', problem))),
    field(
      'watch',
      `${duration(policy.watch.durationMs)}, then ${policy.rollback.automatic ? 'rolled back by itself if it is bad' : 'held if it is bad'}`,
    ),
    field('risk', paint.paint(riskFeel(plan), `${plan.risk.level} (${plan.risk.score}/100)`)),
    ...plan.risk.reasons.map((reason) => field('', `${paint.icon('unknown')} ${reason}`)),
    field('approval', approvalLine(plan)),
  ];
  return lines.join('\n');
}

function field(name: string, value: string): string {
  return `  ${name.padEnd(14)}${value}`;
}

function listed(name: string, values: readonly string[], none: string): string[] {
  if (values.length === 0) return [field(name, none)];
  return values.map((value, index) => field(index === 0 ? name : '', value));
}

function gateLine({ gate, verdict, blocks, reason }: GateLine): string {
  return `${gate} ${verdict}${blocks ? ', stops it' : ''}: ${reason}`;
}

function infrastructureLines({ infrastructure }: Plan, paint: Painter): string[] {
  if (infrastructure === undefined) return [];
  const { plan, tool, summary, kind } = infrastructure;
  if (summary === undefined) return [field('infrastructure', `is being planned with ${kind}`)];
  const total = infrastructureActions.reduce((sum, action) => sum + summary.counts[action], 0);
  return [
    field('infrastructure', `${tellSummary(summary)} (${tool ?? kind}, saved plan ${plan.slice(0, shortHash)})`),
    ...summary.changes.map(({ address, action }) =>
      field('', `${action === 'destroy' || action === 'replace' ? paint.paint('bad', action) : action} ${address}`),
    ),
    ...(total > summary.changes.length ? [field('', paint.dim(`and ${total - summary.changes.length} more`))] : []),
    ...(summary.outputs.length > 0 ? [field('', paint.dim(`outputs: ${summary.outputs.join(', ')}`))] : []),
    ...(total > 0 ? [field('', paint.dim('applied after the approval, and never taken back by itself'))] : []),
  ];
}

function changesLine({ changes }: Plan): string {
  if (changes.fromVersion === null) return 'the first release here';
  const count = changes.commits.length;
  return `${count} commit${count === 1 ? '' : 's'}, ${changes.filesChanged} files, ${changes.linesChanged} lines`;
}

function backupLine({ policy, estimate }: Plan): string {
  if (!policy.backup.database) return 'no database';
  const size = `${(estimate.databaseBytes / 1024 / 1024).toFixed(1)} MiB`;
  const proof = policy.backup.prove ? 'proved by restoring it' : 'not proved';
  const last = estimate.lastProofMs === 0 ? '' : `, the last proof took ${duration(estimate.lastProofMs)}`;
  return `${size}, ${proof}${last}; data on rollback: ${policy.rollback.restore === 'automatic' ? 'swapped back by itself' : 'asked for'}`;
}

function riskFeel({ risk }: Plan): 'good' | 'waiting' | 'bad' {
  return risk.level === 'low' ? 'good' : risk.level === 'medium' ? 'waiting' : 'bad';
}

function approvalLine({ policy }: Plan): string {
  if (!policy.approval.required) return 'not needed';
  const rules = policy.approval.rules.map((rule) => `${rule.count} of ${rule.group}`).join(' and ');
  const proven = policy.approval.requireProof === true ? ', proven by the API' : '';
  return `${rules}${proven}, within ${duration(policy.approval.timeoutMs)}${policy.approval.allowAuthor ? '' : ', not by its author or whoever brought it here'}`;
}
