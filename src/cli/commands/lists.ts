import type { Outcome, RunOutcome } from '../../domain/outcome.ts';
import { type CommandContext, defaultProject, screenOf } from '../context.ts';
import { parseEnvironment } from '../names.ts';
import {
  deploymentList,
  environmentNext,
  environmentPage,
  incidentList,
  releaseList,
  runList,
} from '../pages/lists.ts';

export interface ListOptions {
  readonly limit?: number | undefined;
  readonly cursor?: string | undefined;
  readonly open?: true | undefined;
  readonly outcome?: Outcome | undefined;
  readonly ref?: string | undefined;
  readonly environment?: string | undefined;
}

/** `slipway list`: runs, those that wait for somebody first. */
export async function listRuns(context: CommandContext, options: ListOptions): Promise<void> {
  const client = await context.connect();
  const page = await client.listRuns({
    ...paging(options, client.connection.project),
    ref: options.ref,
    outcome: options.outcome as RunOutcome | undefined,
    open: options.open,
  });
  context.terminal.result('runs', { runs: page.items, next: page.next ?? null }, () =>
    runList(page.items, screenOf(context)),
  );
  more(context, 'list', page.next);
}

/** `slipway deployments`. */
export async function listDeployments(context: CommandContext, options: ListOptions): Promise<void> {
  const client = await context.connect();
  const page = await client.listDeployments({
    ...paging(options, client.connection.project),
    environment: options.environment,
    outcome: options.outcome,
    open: options.open,
  });
  context.terminal.result('deployments', { deployments: page.items, next: page.next ?? null }, () =>
    deploymentList(page.items, screenOf(context)),
  );
  more(context, 'deployments', page.next);
}

/** `slipway releases`. */
export async function listReleases(context: CommandContext, options: ListOptions): Promise<void> {
  const client = await context.connect();
  const page = await client.listReleases(paging(options, client.connection.project));
  context.terminal.result('releases', { releases: page.items, next: page.next ?? null }, () =>
    releaseList(page.items, screenOf(context)),
  );
  more(context, 'releases', page.next);
}

/** `slipway environments [name]`: what is live where, who has the turn, who waits, and why nothing may go in. */
export async function environments(context: CommandContext, name: string | undefined): Promise<void> {
  const client = await context.connect();
  const views =
    name === undefined
      ? await client.listEnvironments(client.connection.project)
      : [await client.readEnvironment(parseEnvironment(name, await defaultProject(client)))];
  const screen = screenOf(context);
  const next = views.flatMap(environmentNext);
  context.terminal.result('environments', { environments: views, next }, () =>
    views.length === 0 ? 'No environments yet.' : views.map((view) => environmentPage(view, screen)).join('\n\n'),
  );
  if (!context.terminal.json) context.terminal.suggest(next);
}

/** `slipway incidents`. */
export async function incidents(context: CommandContext): Promise<void> {
  const client = await context.connect();
  const found = await client.listIncidents(client.connection.project);
  context.terminal.result('incidents', { incidents: found }, () => incidentList(found, screenOf(context)));
}

function paging(
  options: ListOptions,
  project: string | undefined,
): { project: string | undefined; limit: number | undefined; cursor: string | undefined } {
  return { project, limit: options.limit, cursor: options.cursor };
}

function more({ terminal }: CommandContext, command: string, cursor: string | undefined): void {
  if (cursor === undefined || terminal.json) return;
  terminal.suggest([{ command: `slipway ${command} --cursor ${cursor}`, when: 'to see the next ones' }]);
}
