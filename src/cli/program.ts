import { Command, InvalidArgumentError, Option } from '@commander-js/extra-typings';
import { outcomes } from '../domain/outcome.ts';
import { upkeepKinds } from '../domain/upkeep.ts';
import type { Client } from './client.ts';
import type { CommandContext } from './context.ts';
import { exitCodeTable } from './exit.ts';
import { findConnection } from './settings.ts';
import { createTerminal } from './terminal.ts';
import { parseDuration } from './time.ts';

/** Given to every command by the one who starts the program. */
export interface ProgramOptions {
  readonly version: string;
  readonly signal: AbortSignal;
}

const roles = ['viewer', 'developer', 'approver', 'operator', 'admin'] as const;

/**
 * The whole command line: names, options and help. What a command does is loaded when it is called, so that `slipway status` does not wait
 * for what `slipway up` needs.
 */
export function createProgram({ version, signal }: ProgramOptions): Command {
  const program = new Command('slipway')
    .description(
      'A push becomes a checked, built, approved, deployed and watched release, or it is rolled back, code and data.',
    )
    .version(version, '-V, --version')
    .option('--api <url>', 'address of the API (SLIPWAY_URL, else that of the installation in this folder)')
    .option(
      '--token-file <file>',
      'file that holds the token (SLIPWAY_TOKEN or SLIPWAY_TOKEN_FILE, else that of the installation in this folder)',
    )
    .option('-p, --project <name>', 'project that names without one mean (SLIPWAY_PROJECT)')
    .option('--json', 'print one JSON document, however it ends')
    .option('--timeout <time>', 'longest time to wait, such as 90s or 10m; what was waited for goes on', toDuration)
    .showHelpAfterError('`slipway <command> --help` says more.')
    .configureHelp({ sortSubcommands: false })
    .addHelpText('after', `\n${exitCodeTable}\n`);

  const contextOf = (): CommandContext => {
    const options = program.opts();
    let client: Promise<Client> | undefined;
    return {
      terminal: createTerminal({ json: options.json === true }),
      signal,
      timeoutMs: options.timeout,
      connect: () =>
        (client ??= import('./client.ts').then(({ createClient }) =>
          createClient(
            findConnection({ api: options.api, tokenFile: options.tokenFile, project: options.project }),
            signal,
          ),
        )),
    };
  };

  program
    .command('up')
    .description('keep an installation running on this machine, with its state in .slipway')
    .option('--state <folder>', 'folder of its state', '.slipway')
    .option('--port <port>', 'port of the API instead of 8420 or the next free one', toPort)
    .option(
      '--database',
      'also start a PostgreSQL for the services that are deployed; once started it is started again',
    )
    .action(async (options) => (await import('./commands/up.ts')).up(contextOf(), options));
  program
    .command('down')
    .description('stop the installation of this folder; what it deployed goes on serving')
    .option('--state <folder>', 'folder of its state', '.slipway')
    .option('--everything', 'also stop the engine, router and databases that it started for what it deployed')
    .action(async (options) => (await import('./commands/up.ts')).down(contextOf(), options));
  program
    .command('validate')
    .description('check slipway.yaml and project.yaml, every mistake at once')
    .argument('[files...]')
    .action(async (files) => (await import('./commands/validate.ts')).validate(contextOf(), files));

  program
    .command('status')
    .description('everything at a glance, or one run (12, hello#12) or deployment (production/3, hello/production/3)')
    .argument('[name]')
    .option('-w, --watch', 'follow it until it is over')
    .option('--exit-status', 'end with the status of its outcome')
    .action(async (name, options) => (await import('./commands/status.ts')).status(contextOf(), name, options));
  program
    .command('list')
    .alias('runs')
    .description('runs, those that are not over first')
    .addOption(limit())
    .option('--cursor <cursor>', 'go on where the page before ended')
    .option('--ref <ref>', 'only of this branch or tag')
    .option('--open', 'only those that are not over')
    .addOption(outcome())
    .action(async (options) => (await import('./commands/lists.ts')).listRuns(contextOf(), options));
  program
    .command('deployments')
    .description('deployments and rollbacks, those that are not over first')
    .addOption(limit())
    .option('--cursor <cursor>', 'go on where the page before ended')
    .option('-e, --environment <name>', 'only of this environment')
    .option('--open', 'only those that are not over')
    .addOption(outcome())
    .action(async (options) => (await import('./commands/lists.ts')).listDeployments(contextOf(), options));
  program
    .command('releases')
    .description('what can be deployed or gone back to')
    .addOption(limit())
    .option('--cursor <cursor>', 'go on where the page before ended')
    .action(async (options) => (await import('./commands/lists.ts')).listReleases(contextOf(), options));
  program
    .command('environments')
    .description('what is live where, who has the turn, who waits, and why nothing may go in')
    .argument('[environment]')
    .action(async (name) => (await import('./commands/lists.ts')).environments(contextOf(), name));
  const incidents = program
    .command('incidents')
    .description('incidents, newest first')
    .action(async () => (await import('./commands/lists.ts')).incidents(contextOf()));
  incidents
    .command('close')
    .description('the post-mortem is written')
    .argument('<deployment>')
    .requiredOption('-m, --reason <text>', 'where the post-mortem is, kept in the audit')
    .action(async (name, options) => (await import('./commands/act.ts')).closeIncident(contextOf(), name, options));
  program
    .command('report')
    .description('what a run showed: tests, coverage, gates, findings, images, times')
    .argument('<run>')
    .action(async (name) => (await import('./commands/report.ts')).report(contextOf(), name));
  program
    .command('logs')
    .description('what the steps of a run or the stages of a deployment said')
    .argument('<name>')
    .argument('[step]', 'only this stage or step, as `migrate`, `unit` or `test/unit`')
    .option('-f, --follow', 'from the first line on, as it comes, until it is over')
    .option('--step <step>', 'the same')
    .option('--search <text>', 'only the lines that contain this text')
    .option('--times', 'with the time before every line')
    .action(async (name, step, options) =>
      (await import('./commands/logs.ts')).logs(contextOf(), name, { ...options, step: step ?? options.step }),
    );
  program
    .command('caches')
    .description('files that stages keep from run to run, and how often they are found')
    .action(async () => (await import('./commands/caches.ts')).caches(contextOf()));
  program
    .command('scan')
    .description('scan what is live, and what was before it, with the advisories of today')
    .argument('[environment]')
    .action(async (name) => (await import('./commands/scan.ts')).scan(contextOf(), name));
  program
    .command('audit')
    .description('who did and decided what in a time, what was rolled back and what was lived with')
    .requiredOption('--since <time>', 'so long ago, such as 30d, or from a day on, such as 2026-11-01')
    .option('--until <time>', 'the same; default: now')
    .action(async (options) => (await import('./commands/audit.ts')).audit(contextOf(), options));
  program
    .command('upkeep')
    .description('what is done by schedule, and what it found last')
    .addOption(new Option('--kind <kind>', 'only this').choices(upkeepKinds))
    .action(async ({ kind }) => (await import('./commands/upkeep.ts')).upkeep(contextOf(), kind));
  program
    .command('recover')
    .description(
      'what the store has lost of an environment, by its router, its target and Temporal; never moves traffic',
    )
    .argument('<environment>')
    .option('--apply', 'write it, instead of only saying what would be written')
    .option('-m, --reason <text>', 'why, kept in the audit; needed with --apply')
    .action(async (name, options) => (await import('./commands/recover.ts')).recover(contextOf(), name, options));
  program
    .command('registry')
    .description('images that retention would remove from the registry; removes nothing')
    .action(async () => (await import('./commands/registry.ts')).registry(contextOf()));
  program
    .command('artifacts')
    .description('files that the stages of a run have left')
    .argument('<run>')
    .option('--download <folder>', 'write them there')
    .option('--only <artifact>', 'only this one, as `reports` or `test/reports`')
    .action(async (name, options) => (await import('./commands/artifacts.ts')).artifacts(contextOf(), name, options));

  program
    .command('run')
    .description('start a run of a branch or tag by hand and follow it (--timeout 0: do not)')
    .argument('<ref>')
    .option('--commit <sha>', 'this commit instead of the newest')
    .option('--key <key>', 'starting it again with the same key gives the same run')
    // Without a short form: `-p` names the project, before a command and after it.
    .option('--parameter <name=value>', 'what conditions ask for; may be given again', collectParameter)
    .action(async (ref, options) => (await import('./commands/act.ts')).startRun(contextOf(), ref, options));
  program
    .command('rerun')
    .description('do a run again and follow it')
    .argument('<run>')
    .option('--from-approval', 'with what it had built, instead of from its start')
    .action(async (name, options) => (await import('./commands/act.ts')).rerun(contextOf(), name, options));
  program
    .command('allow')
    .description('let the run of a pull request from a fork go on, for the commit that you have looked at')
    .argument('<run>')
    .option('--commit <sha>', 'that commit, at least its first 8 digits')
    .action(async (name, options) => (await import('./commands/allow.ts')).allow(contextOf(), name, options));
  program
    .command('plan')
    .description('what a deployment would change: what approval is asked for')
    .argument('<deployment>')
    .action(async (name) => (await import('./commands/decide.ts')).showPlan(contextOf(), name));
  for (const verdict of ['approve', 'reject'] as const) {
    program
      .command(verdict)
      .description(verdict === 'approve' ? 'let a deployment go' : 'end a deployment before it changes anything')
      .argument('<deployment>')
      .option('--plan <hash>', 'the plan that is meant, its first 8 characters')
      .option('-m, --comment <text>', 'shown with the decision')
      .option('-w, --wait', 'follow the deployment until it is over')
      .action(async (name, options) =>
        (await import('./commands/decide.ts')).decide(contextOf(), verdict, name, options),
      );
  }
  program
    .command('deploy')
    .description('deploy a release that exists, without building it again')
    .argument('<environment>')
    .argument('<version>')
    .action(async (name, wanted) => (await import('./commands/act.ts')).deploy(contextOf(), name, wanted));
  program
    .command('rollback')
    .description('go back to an earlier version, and follow it (--timeout 0: do not)')
    .argument('<environment>')
    .option('--to-version <version>', 'default: the version before the live one')
    .option('-m, --reason <text>', 'shown wherever the rollback is')
    .option('-y, --yes', 'do not ask')
    .action(async (name, options) => (await import('./commands/act.ts')).rollback(contextOf(), name, options));
  program
    .command('abort')
    .description(
      'end a run, or a deployment: what it has changed is taken back; a rollback stops where it is, and the environment is held',
    )
    .argument('<name>')
    .option('-m, --reason <text>', 'shown with it')
    .option('--no-rollback', 'leave a half-done change as it is; the environment is held')
    .action(async (name, options) => (await import('./commands/act.ts')).abort(contextOf(), name, options));

  program
    .command('unlock')
    .description('end a hold by saying what is live')
    .argument('<environment>')
    .requiredOption('--state-is <version>', 'what you found to be live, or `none`')
    .requiredOption('-m, --reason <text>', 'kept in the audit')
    .action(async (name, options) =>
      (await import('./commands/act.ts')).sayToEnvironment(contextOf(), 'unlock', name, options),
    );
  for (const [how, text] of [
    ['reconcile', 'end a hold by taking what runs now as the truth'],
    ['retry', 'try an undoing again that could not be done'],
  ] as const) {
    program
      .command(how)
      .description(text)
      .argument('<environment>')
      .requiredOption('-m, --reason <text>', 'kept in the audit')
      .action(async (name, options) =>
        (await import('./commands/act.ts')).sayToEnvironment(contextOf(), how, name, options),
      );
  }

  program
    .command('freeze')
    .description('let no deployment in')
    .argument('<environment>')
    .requiredOption('-m, --reason <text>', 'shown to who wants to deploy')
    .option('--for <time>', 'such as 2h; until `thaw` without it', toDuration)
    .action(async (name, options) =>
      (await import('./commands/act.ts')).sayToEnvironment(contextOf(), 'freeze', name, options),
    );
  program
    .command('thaw')
    .description('let deployments in again')
    .argument('<environment>')
    .action(async (name) => (await import('./commands/act.ts')).sayToEnvironment(contextOf(), 'thaw', name, {}));

  const project = program.command('project').description('what may go where, and who decides');
  project
    .command('apply')
    .description('put a project.yaml in force, and show what changed')
    .argument('<file>')
    .action(async (file) => (await import('./commands/projects.ts')).applyProject(contextOf(), file));
  project
    .command('list')
    .description('the projects there are')
    .action(async () => (await import('./commands/projects.ts')).listProjects(contextOf()));

  const token = program.command('token').description('who may speak to the API');
  token
    .command('create')
    .description('make a token; it is shown once')
    .argument('<name>', 'the person or machine it belongs to')
    .addOption(new Option('--role <role>', 'what it may do').choices(roles).default('viewer' as const))
    .option('--group <group...>', 'groups for approvals, such as tech-lead', [] as string[])
    .option('--expires-in <time>', 'such as 90d', toDuration)
    .action(async (name, options) => (await import('./commands/tokens.ts')).createToken(contextOf(), name, options));
  token
    .command('list')
    .description('tokens, without what would let anyone use them')
    .action(async () => (await import('./commands/tokens.ts')).listTokens(contextOf()));
  token
    .command('revoke')
    .description('a token is nobody’s from now on')
    .argument('<id>')
    .action(async (id) => (await import('./commands/tokens.ts')).revokeToken(contextOf(), id));

  program
    .command('version')
    .description('which Slipway this is')
    .action(() => contextOf().terminal.result('version', { version, node: process.version }, () => version));
  return program;
}

function limit() {
  return new Option('-n, --limit <count>', 'how many').default(20).argParser((text: string) => {
    const count = Number(text);
    if (!Number.isSafeInteger(count) || count < 1 || count > 200)
      throw new InvalidArgumentError('It must be from 1 to 200.');
    return count;
  });
}

function outcome() {
  return new Option('--outcome <outcome>', 'only those that ended so').choices(outcomes);
}

function toPort(text: string): number {
  const port = Number(text);
  if (!Number.isSafeInteger(port) || port < 1 || port > 65_535)
    throw new InvalidArgumentError('It must be from 1 to 65535.');
  return port;
}

function toDuration(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined) throw new InvalidArgumentError('Write it as 90s, 10m or 1h30m.');
  return ms;
}

/** Puts `name=value` to those before it. */
function collectParameter(given: string, before: Readonly<Record<string, string>> = {}): Record<string, string> {
  const at = given.indexOf('=');
  if (at <= 0) throw new InvalidArgumentError('It is written as name=value.');
  return { ...before, [given.slice(0, at)]: given.slice(at + 1) };
}
