import { setTimeout as delay } from 'node:timers/promises';
import type { LogStream } from '../../store/logs.ts';
import { type Client, type RunName } from '../client.ts';
import { type CommandContext, defaultProject, interrupted } from '../context.ts';
import { CliError } from '../exit.ts';
import { nameOf, parseName } from '../names.ts';
import type { DeploymentRef } from '../../domain/deployment.ts';
import { withoutControls } from '../../effects/control.ts';

export interface LogsOptions {
  readonly follow?: true | undefined;
  /** A stage or step. */
  readonly step?: string | undefined;
  /** Only lines that contain this. */
  readonly search?: string | undefined;
  /** With the time before every line. */
  readonly times?: true | undefined;
}

const pollMs = 500;

/**
 * `slipway logs <name>`: what the steps of a run, or the stages of a deployment, said; with `-f` from the first line on, as it comes, until it
 * is over.
 */
export async function logs(context: CommandContext, name: string, options: LogsOptions): Promise<void> {
  const client = await context.connect();
  const named = parseName(name, await defaultProject(client));
  const shown = named.kind === 'run' ? `${named.project}#${named.number}` : nameOf(named);
  if (options.search !== undefined) {
    await search(context, client, named, { text: options.search, step: options.step });
    return;
  }
  let count: number;
  try {
    count = await printAll(context, client, named, options);
  } catch (error) {
    if (!context.signal.aborted) throw error;
    throw interrupted(shown, `slipway logs ${shown}${options.follow === true ? ' -f' : ''}`);
  }
  if (context.signal.aborted) throw interrupted(shown, `slipway logs ${shown} -f`);
  if (count > 0) return;
  const which = options.step === undefined ? '' : ` of ${options.step}`;
  throw new CliError('not-found', `${shown} has no log${which}.`, {
    next: [{ command: `slipway status ${shown}`, when: 'to see its steps' }],
  });
}

/** @returns how many were printed. */
async function printAll(
  context: CommandContext,
  client: Client,
  named: RunName | DeploymentRef,
  options: LogsOptions,
): Promise<number> {
  const printed = new Set<string>();
  for (;;) {
    // Asked before the logs: what was opened until it was over is then certainly in the list.
    const over = options.follow !== true || (await isOver(client, named));
    const found = (await client.listLogs(named)).filter((log) => matches(log, options.step));
    for (const log of found.filter((each) => !printed.has(each.log))) {
      printed.add(log.log);
      await print(context, client, log, options);
      if (context.signal.aborted) return printed.size;
    }
    if (over) return printed.size;
    await delay(pollMs, undefined, { signal: context.signal });
  }
}

async function isOver(client: Client, named: RunName | DeploymentRef): Promise<boolean> {
  const record = 'environment' in named ? await client.readDeployment(named) : await client.readRun(named);
  return record.outcome !== null;
}

function matches(log: LogStream, step: string | undefined): boolean {
  return step === undefined || [log.stage, log.step, `${log.stage}/${log.step}`].includes(step);
}

/** Every line that contains the text, with its place; none is an answer too. */
async function search(
  context: CommandContext,
  client: Client,
  of: RunName | DeploymentRef,
  { text, step }: { readonly text: string; readonly step: string | undefined },
): Promise<void> {
  const { terminal } = context;
  const found = await client.searchLogs(of, text, step);
  for (const { log, stage, step: own, attempt, matches = [] } of found) {
    for (const match of matches) {
      if (terminal.json) terminal.piece({ log, stage, step: own, attempt, ...match }, '');
      else terminal.stdout.write(`${stage}/${own}:${match.line} ${match.at ?? '-'} ${withoutControls(match.text)}\n`);
    }
  }
}

async function print(
  context: CommandContext,
  client: Client,
  log: LogStream,
  { follow = false, times = false }: { readonly follow?: boolean | undefined; readonly times?: boolean | undefined },
): Promise<void> {
  const { terminal } = context;
  const title = `${log.stage} / ${log.step}${log.attempt > 1 ? ` (attempt ${log.attempt})` : ''}`;
  if (!terminal.json) terminal.say(terminal.paint.bold(`── ${title}`));
  const piece = (text: string): void => {
    // What an older worker has written may still have them.
    const safe = withoutControls(text);
    if (terminal.json)
      terminal.piece({ log: log.log, stage: log.stage, step: log.step, attempt: log.attempt, text }, '');
    else terminal.stdout.write(safe);
  };
  if (!follow || log.closedAt !== null) {
    const text = await client.readLog(log.log, { times });
    piece(text === '' || text.endsWith('\n') ? text : `${text}\n`);
    return;
  }
  for await (const text of client.followLog(log.log, context.signal)) piece(text);
}
