import type { EnvironmentView } from '../../workflows/messages.ts';
import type { Client, EnvironmentName } from '../client.ts';
import { type CommandContext, defaultProject, screenOf } from '../context.ts';
import { CliError } from '../exit.ts';
import { nameOf, parseDeployment, parseEnvironment, parseName } from '../names.ts';
import { environmentPage } from '../pages/lists.ts';
import { deploymentStatus, runStatus } from './status.ts';

const longestReason = 120;

/** `slipway run <ref>`: starts a run by hand and follows it. */
export async function startRun(
  context: CommandContext,
  ref: string,
  options: {
    readonly commit?: string | undefined;
    readonly key?: string | undefined;
    readonly parameter?: Readonly<Record<string, string>> | undefined;
  },
): Promise<void> {
  const client = await context.connect();
  const project = await needProject(client);
  const full = ref.startsWith('refs/') ? ref : /^v?\d+\.\d+\.\d+/.test(ref) ? `refs/tags/${ref}` : `refs/heads/${ref}`;
  const { run } = await client.startRun({
    project,
    ref: full,
    commit: options.commit,
    idempotencyKey: options.key,
    parameters: options.parameter,
  });
  const name = `${run.project}#${run.number}`;
  context.terminal.say(`${name} begins; ${client.connection.url}/v1/projects/${run.project}/runs/${run.number}`);
  if (context.timeoutMs === 0) {
    context.terminal.result('run', { run }, () => name);
    return;
  }
  await runStatus(context, client, run, { watch: true });
}

/**
 * `slipway abort <name>`: a run ends; a deployment ends and what it has changed is taken back; a rollback stops where it is, and its
 * environment is held.
 */
export async function abort(
  context: CommandContext,
  name: string,
  options: { readonly reason?: string | undefined; readonly rollback: boolean },
): Promise<void> {
  const client = await context.connect();
  const named = parseName(name, await defaultProject(client));
  if (named.kind === 'run') await client.abortRun(named, options.reason);
  else await client.abortDeployment(named, { reason: options.reason, noRollback: options.rollback ? undefined : true });
  const text = named.kind === 'run' ? `${named.project}#${named.number}` : nameOf(named);
  context.terminal.result('abort', { aborted: named }, () => `${text} is being aborted.`);
  if (!context.terminal.json)
    context.terminal.suggest([{ command: `slipway status ${text} --watch`, when: 'to see it end' }]);
}

/** `slipway deploy <environment> <version>`: a release that exists already, without building it again. */
export async function deploy(context: CommandContext, environment: string, version: string): Promise<void> {
  const client = await context.connect();
  const name = parseEnvironment(environment, await defaultProject(client));
  const ref = await client.deploy(name, { version });
  await followOrLeave(context, client, ref);
}

/** `slipway rollback <environment>`: explains itself, asks where somebody can be asked, and follows the rollback. */
export async function rollback(
  context: CommandContext,
  environment: string,
  options: {
    readonly toVersion?: string | undefined;
    readonly reason?: string | undefined;
    readonly yes?: true | undefined;
  },
): Promise<void> {
  const { terminal } = context;
  const client = await context.connect();
  const name = parseEnvironment(environment, await defaultProject(client));
  const shown = `${name.project}/${name.environment}`;
  const to = options.toVersion?.replace(/^v(?=\d)/, '');
  const reason = options.reason ?? (await askForReason(context, client, name, to, shown));
  if (reason.length > longestReason) {
    throw new CliError(
      'usage',
      `The reason has ${reason.length} characters; ${longestReason} are enough for a list, the rest belongs into the post-mortem.`,
    );
  }
  if (terminal.interactive && options.yes !== true && options.reason !== undefined)
    await confirmRollback(context, client, name, to, shown);
  const ref = await client.rollback(name, { reason, ...(to === undefined ? {} : { to }) });
  await followOrLeave(context, client, ref);
}

async function askForReason(
  context: CommandContext,
  client: Client,
  name: EnvironmentName,
  to: string | undefined,
  shown: string,
): Promise<string> {
  if (!context.terminal.interactive || context.terminal.json) {
    const target = to === undefined ? '' : ` --to-version ${to}`;
    throw new CliError('action-required', 'A rollback needs a reason: it is shown wherever the rollback is.', {
      type: 'reason-missing',
      next: [{ command: `slipway rollback ${shown}${target} --reason "…"`, when: 'to go back' }],
    });
  }
  await confirmRollback(context, client, name, to, shown);
  const { ask } = await import('../ask.ts');
  return await ask('Why? ');
}

async function confirmRollback(
  { terminal }: CommandContext,
  client: Client,
  name: EnvironmentName,
  to: string | undefined,
  shown: string,
): Promise<void> {
  const view = await client.readEnvironment(name);
  const target = to ?? view.previous?.version;
  if (target === undefined) {
    throw new CliError(
      'action-required',
      `${shown}: ${view.live?.version ?? 'nothing'} is live, and no release before it is known. Nothing was changed.`,
      {
        next: [
          { command: `slipway releases --project ${name.project}`, when: 'to see what else there is' },
          { command: `slipway rollback ${shown} --to-version …`, when: 'to go to one of them' },
        ],
      },
    );
  }
  terminal.say(`${shown}: ${view.live?.version ?? 'nothing'} is live; ${target} would serve instead.`);
  terminal.say(
    'Traffic goes back. Data goes back only by the rollback policy of the project; mails sent and calls made do not come back.',
  );
  const { confirm } = await import('../ask.ts');
  if (!(await confirm('Go back?'))) throw new CliError('action-required', 'Nothing was changed.');
}

/** `slipway rerun <run>`: does it again, from its start or from approval. */
export async function rerun(
  context: CommandContext,
  name: string,
  options: { readonly fromApproval?: true | undefined },
): Promise<void> {
  const client = await context.connect();
  const named = parseName(name, await defaultProject(client));
  if (named.kind === 'deployment') {
    throw new CliError(
      'usage',
      `${nameOf(named)} is a deployment; name the run that led to it, such as ${named.project}#12.`,
    );
  }
  const { run } = await client.rerun(named, options.fromApproval === true ? 'approval' : 'start');
  context.terminal.say(`${run.project}#${run.number} begins`);
  if (context.timeoutMs === 0) context.terminal.result('run', { run }, () => `${run.project}#${run.number}`);
  else await runStatus(context, client, run, { watch: true });
}

export interface WordOptions {
  readonly reason: string;
  readonly stateIs?: string | undefined;
  /** From now, ms. */
  readonly for?: number | undefined;
}

/** `slipway unlock|reconcile|retry|freeze|thaw <environment>`: who may go in, and why not. */
export async function sayToEnvironment(
  context: CommandContext,
  how: 'unlock' | 'reconcile' | 'retry' | 'freeze' | 'thaw',
  environment: string,
  options: Partial<WordOptions>,
): Promise<void> {
  const client = await context.connect();
  const name = parseEnvironment(environment, await defaultProject(client));
  const body = { reason: options.reason ?? '' };
  const until = options.for === undefined ? undefined : new Date(Date.now() + options.for).toISOString();
  const send: Readonly<Record<typeof how, () => Promise<EnvironmentView>>> = {
    unlock: () => client.unlock(name, { ...body, stateIs: options.stateIs?.replace(/^v(?=\d)/, '') ?? '' }),
    reconcile: () => client.reconcile(name, body),
    retry: () => client.retry(name, body),
    freeze: () => client.freeze(name, { ...body, until }),
    thaw: () => client.thaw(name),
  };
  const view = await send[how]();
  context.terminal.result('environment', { environment: view }, () => environmentPage(view, screenOf(context)));
}

/** `slipway incidents close <deployment>`: the post-mortem is written. */
export async function closeIncident(
  context: CommandContext,
  name: string,
  options: { readonly reason: string },
): Promise<void> {
  const client = await context.connect();
  const ref = parseDeployment(name.replace(/^incident\//, ''), await defaultProject(client));
  const { closed } = await client.closeIncident(ref, options.reason);
  if (!closed) throw new CliError('conflict', `There is no open incident of ${nameOf(ref)}.`);
  context.terminal.result('incident', { closed: ref }, () => `The incident of ${nameOf(ref)} is closed.`);
}

async function followOrLeave(
  context: CommandContext,
  client: Client,
  ref: { readonly project: string; readonly environment: string; readonly number: number },
): Promise<void> {
  context.terminal.say(`${nameOf(ref)} begins; slipway status ${nameOf(ref)} --watch`);
  if (context.timeoutMs === 0) {
    context.terminal.result('deployment', { deployment: ref }, () => nameOf(ref));
    return;
  }
  await deploymentStatus(context, client, ref, { watch: true });
}

export async function needProject(client: Client): Promise<string> {
  const project = await defaultProject(client);
  if (project !== undefined) return project;
  throw new CliError('usage', 'Which project is meant must be said.', {
    next: [{ command: 'slipway … --project <name>', when: 'to name it; `slipway project list` shows them' }],
  });
}
