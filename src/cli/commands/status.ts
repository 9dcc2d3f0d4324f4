import type { DeploymentRef } from '../../domain/deployment.ts';
import { placeSentence } from '../../domain/run-turn.ts';
import type { DeploymentRecord } from '../../store/deployments.ts';
import type { RunRecord } from '../../store/runs.ts';
import type { Client, RunName } from '../client.ts';
import { type CommandContext, defaultProject, screenOf } from '../context.ts';
import { CliError, type Ending, endingOf } from '../exit.ts';
import { nameOf, parseName } from '../names.ts';
import { deploymentNext, deploymentPage } from '../pages/deployment.ts';
import { deploymentList, environmentPage, runList } from '../pages/lists.ts';
import { undeliveredList } from '../pages/notices.ts';
import { linkLines } from '../pages/links.ts';
import { runPage } from '../pages/run.ts';
import { follow } from '../wait.ts';

export interface StatusOptions {
  readonly watch?: true | undefined;
  readonly exitStatus?: true | undefined;
}

/** `slipway status [name]`: everything at a glance, one run, or one deployment; with `--watch` until it is over. */
export async function status(context: CommandContext, name: string | undefined, options: StatusOptions): Promise<void> {
  const client = await context.connect();
  if (name === undefined) {
    await overview(context, client);
    return;
  }
  const named = parseName(name, await defaultProject(client));
  if (named.kind === 'run') await runStatus(context, client, named, options);
  else await deploymentStatus(context, client, named, options);
}

async function overview(context: CommandContext, client: Client): Promise<void> {
  const { project } = client.connection;
  const [environments, runs, deployments, undelivered] = await Promise.all([
    client.listEnvironments(project),
    client.listRuns({ project, limit: 8 }),
    client.listDeployments({ project, limit: 8 }),
    client.listUndelivered(project),
  ]);
  const { terminal } = context;
  const screen = screenOf(context);
  terminal.result('overview', { environments, runs: runs.items, deployments: deployments.items, undelivered }, () =>
    [
      ...(undelivered.length === 0 ? [] : [undeliveredList(undelivered, screen)]),
      ...environments.map((view) => environmentPage(view, screen)),
      terminal.paint.bold('Deployments'),
      deploymentList(deployments.items, screen),
      terminal.paint.bold('Runs'),
      runList(runs.items, screen),
    ].join('\n\n'),
  );
  const waiting = deployments.items.find(({ phase, outcome }) => outcome === null && phase === 'awaiting-approval');
  if (waiting !== undefined) {
    terminal.suggest([
      { command: `slipway plan ${nameOf(waiting)}`, when: `to read what ${nameOf(waiting)} would change` },
    ]);
  }
}

/** Shows a run, or follows it; used by `slipway run` too. */
export async function runStatus(
  context: CommandContext,
  client: Client,
  run: RunName,
  options: StatusOptions,
): Promise<void> {
  const name = `${run.project}#${run.number}`;
  const page = (record: RunRecord): string => runPage(record, screenOf(context));
  const record =
    options.watch === true
      ? await follow<RunRecord>(context, {
          what: name,
          read: () => client.readRun(run),
          isOver: ({ outcome }) => outcome !== null,
          page,
          line: ({ phase, stages, queue }) =>
            queue === null || queue.waitsFor === null
              ? `${name} ${phase} ${stages.at(-1)?.name ?? ''}`.trimEnd()
              : `${name} ${phase}: ${placeSentence({ ...queue, waitsFor: queue.waitsFor })}`,
          goOn: `slipway status ${name} --watch`,
          abort: `slipway abort ${name}`,
        })
      : await client.readRun(run);
  const ending = endingFor(record.outcome, options);
  context.terminal.result('run', { run: record }, () => page(record), ending);
  if (!context.terminal.json && record.outcome !== null) {
    // How it stands was said; a link that cannot be had changes nothing of it.
    const links = await client.readPageLinks(run).catch(() => undefined);
    if (links !== undefined) for (const line of linkLines(links, client)) context.terminal.say(line);
  }
  end(ending, `${name} ${record.outcome ?? record.phase}.`, runNext(record, name), context);
}

function runNext({ outcome, phase, commit }: RunRecord, name: string): CliError['next'] {
  if (outcome === 'failed' || outcome === 'errored') {
    return [{ command: `slipway logs ${name}`, when: 'to read what its steps said' }];
  }
  if (outcome !== null || phase !== 'awaiting-word') return [];
  const command = `slipway allow ${name} --commit ${commit.slice(0, 12)}`;
  return [{ command, when: 'once you have read what this pull request from a fork changes' }];
}

/** Shows a deployment, or follows it; used by everything that waits for one. */
export async function deploymentStatus(
  context: CommandContext,
  client: Client,
  ref: DeploymentRef,
  options: StatusOptions,
): Promise<void> {
  const name = nameOf(ref);
  const page = (record: DeploymentRecord): string => deploymentPage(record, screenOf(context));
  const record =
    options.watch === true
      ? await follow<DeploymentRecord>(context, {
          what: name,
          read: () => client.readDeployment(ref),
          isOver: ({ outcome }) => outcome !== null,
          page,
          line: ({ phase, phaseDetail }) => `${name} ${phase}${phaseDetail === null ? '' : `: ${phaseDetail}`}`,
          goOn: `slipway status ${name} --watch`,
          abort: `slipway abort ${name}`,
        })
      : await client.readDeployment(ref);
  const asked = endingFor(record.outcome, options);
  // Of a rollback that somebody asked for it is what was to be done.
  const ending = record.kind === 'rollback' && record.outcome === 'rolled-back' ? 'ok' : asked;
  const next = deploymentNext(record);
  context.terminal.result('deployment', { deployment: record, next }, () => page(record), ending);
  end(ending, `${name} ${record.outcome ?? record.phase}.`, next, context);
}

/** Without `--watch` or `--exit-status` having been shown the state is what was asked for. */
function endingFor(outcome: RunRecord['outcome'] | DeploymentRecord['outcome'], options: StatusOptions): Ending {
  if (outcome === null || (options.watch !== true && options.exitStatus !== true)) return 'ok';
  return endingOf[outcome];
}

function end(ending: Ending, message: string, next: CliError['next'], { terminal }: CommandContext): void {
  // The document was printed already; only the status is left to say.
  if (ending !== 'ok') throw new CliError(ending, message, { next, type: 'outcome', printed: terminal.json });
  if (!terminal.json) terminal.suggest(next);
}
