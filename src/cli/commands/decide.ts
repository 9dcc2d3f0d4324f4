import type { DeploymentRef } from '../../domain/deployment.ts';
import { type Plan, planNamePattern } from '../../domain/plan.ts';
import type { DeploymentRecord } from '../../store/deployments.ts';
import type { Client } from '../client.ts';
import { type CommandContext, defaultProject } from '../context.ts';
import { CliError } from '../exit.ts';
import { nameOf, parseDeployment } from '../names.ts';
import { planPage } from '../pages/plan.ts';
import { deploymentStatus } from './status.ts';

export interface DecideOptions {
  readonly plan?: string | undefined;
  readonly comment?: string | undefined;
  readonly wait?: true | undefined;
}

/** `slipway plan <deployment>`: what approval is asked for. */
export async function showPlan(context: CommandContext, name: string): Promise<void> {
  const client = await context.connect();
  const ref = parseDeployment(name, await defaultProject(client));
  const deployment = await client.readDeployment(ref);
  const plan = planOf(deployment);
  context.terminal.result('plan', { plan, phase: deployment.phase }, () => planPage(plan, context.terminal.paint));
  if (deployment.phase !== 'awaiting-approval' || context.terminal.json) return;
  context.terminal.suggest([
    { command: `slipway approve ${nameOf(ref)} --plan ${short(plan)}`, when: 'to let it go' },
    { command: `slipway reject ${nameOf(ref)} --plan ${short(plan)} --comment "…"`, when: 'to end it' },
  ]);
}

/**
 * `slipway approve|reject <deployment>`. A decision is for one plan: it is named by `--plan`, or shown and asked about. Where nobody can be
 * asked, the command says what to type and decides nothing.
 */
export async function decide(
  context: CommandContext,
  verdict: 'approve' | 'reject',
  name: string,
  options: DecideOptions,
): Promise<void> {
  const { terminal } = context;
  const client = await context.connect();
  const ref = parseDeployment(name, await defaultProject(client));
  if (options.plan !== undefined && !planNamePattern.test(options.plan)) {
    throw new CliError(
      'usage',
      `--plan ${options.plan} is no hash of a plan: at least its first 8 characters are needed.`,
      {
        next: [{ command: `slipway plan ${nameOf(ref)}`, when: 'to see it' }],
      },
    );
  }
  const plan = options.plan ?? (await askAbout(context, client, ref, verdict));
  const body = { plan, ...(options.comment === undefined ? {} : { comment: options.comment }) };
  const state = await (verdict === 'approve' ? client.approve(ref, body) : client.reject(ref, body));
  if (options.wait === true) {
    terminal.say(`${nameOf(ref)}: ${state.status}`);
    await deploymentStatus(context, client, ref, { watch: true });
    return;
  }
  terminal.result('approval', { deployment: ref, approval: state }, () => sentence(state, ref, verdict));
  if (!terminal.json) terminal.suggest([{ command: `slipway status ${nameOf(ref)} --watch`, when: 'to follow it' }]);
}

async function askAbout(
  { terminal }: CommandContext,
  client: Client,
  ref: DeploymentRef,
  verdict: 'approve' | 'reject',
): Promise<string> {
  const deployment = await client.readDeployment(ref);
  const plan = planOf(deployment);
  const command = `slipway ${verdict} ${nameOf(ref)} --plan ${short(plan)}`;
  if (!terminal.interactive || terminal.json) {
    throw new CliError('action-required', `Which plan is meant must be said: the one that waits is ${short(plan)}.`, {
      type: 'plan-not-named',
      next: [
        { command: `slipway plan ${nameOf(ref)}`, when: 'to read it' },
        { command, when: `to ${verdict} it` },
      ],
    });
  }
  terminal.say(planPage(plan, terminal.paint));
  const { confirm } = await import('../ask.ts');
  if (!(await confirm(`${verdict === 'approve' ? 'Approve' : 'Reject'} this plan for ${nameOf(ref)}?`))) {
    throw new CliError('action-required', 'Nothing was decided.', { next: [{ command, when: `to ${verdict} it` }] });
  }
  return plan.hash;
}

function planOf(deployment: DeploymentRecord): Plan {
  if (deployment.plan !== null) return deployment.plan;
  throw new CliError('conflict', `${nameOf(deployment)} has no plan yet: it is ${deployment.phase}.`, {
    next: [{ command: `slipway status ${nameOf(deployment)} --watch`, when: 'to follow it until it has one' }],
  });
}

function short(plan: Plan): string {
  return plan.hash.slice(0, 8);
}

function sentence(
  state: { readonly status: string; readonly counted: readonly unknown[] },
  ref: DeploymentRef,
  verdict: 'approve' | 'reject',
): string {
  if (state.status === 'pending')
    return `${nameOf(ref)}: your ${verdict === 'approve' ? 'approval' : 'rejection'} counts, more people must agree.`;
  return `${nameOf(ref)} is ${state.status}.`;
}
