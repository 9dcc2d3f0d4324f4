import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Retries } from '../../local/keeper.ts';
import type { ComponentName } from '../../local/up.ts';
import type { CommandContext } from '../context.ts';
import { CliError } from '../exit.ts';
import { writeConnectionFile } from '../settings.ts';

export interface UpOptions {
  readonly state: string;
  readonly port?: number | undefined;
  readonly database?: true | undefined;
}

const always = ['temporal', 'store', 'docker', 'registry', 'router'] as const satisfies readonly ComponentName[];
/** A component that ended is found out after this, ms. */
const lookEveryMs = 3_000;

/**
 * `slipway up`: finds or starts what is needed, starts API and worker over it, and keeps all of it running until it is told to stop. What it
 * deployed, its router and its database go on without it.
 */
export async function up(context: CommandContext, options: UpOptions): Promise<void> {
  const { terminal } = context;
  const [local, contexts, systems, reports, { createRetries }] = await Promise.all([
    import('../../local/up.ts'),
    import('../../local/context.ts'),
    import('../../local/system.ts'),
    import('../../local/report.ts'),
    import('../../local/keeper.ts'),
  ]);
  const stop = stopSignal(context.signal);
  const reporter = reports.createReporter((line) => terminal.say(terminal.paint.dim(line)));
  const place = { stateFolder: resolve(options.state), onProgress: reporter.report };
  const localContext = contexts.createLocalContext(place);
  const release = await claimFolder(localContext.stateFolder);
  try {
    const before = await local.status(place);
    const known = new Set(before.map(({ name }) => name));
    const endBegun = async (): Promise<void> => {
      const were = new Set(before.filter(({ running }) => running).map(({ name }) => name));
      const begun = (await local.status(place)).filter(({ name, running }) => running && !were.has(name));
      if (begun.length > 0)
        tellEnd(await local.down({ ...place, target: 'keep', only: begun.map(({ name }) => name) }));
    };
    const tellEnd = ({ ended, kept }: Awaited<ReturnType<typeof local.down>>): void => {
      if (ended.length > 0) terminal.say(`ended: ${ended.join(', ')}`);
      for (const line of kept) terminal.say(`goes on: ${line}`);
    };
    const withDatabase = options.database === true || known.has('application-postgres');
    const want = [...always, ...(withDatabase ? (['applicationPostgres'] as const) : [])];
    const configured = { storeUrl: localContext.env['DATABASE_URL'], dockerHost: localContext.env['DOCKER_HOST'] };
    const start = () => local.up({ ...place, want, configured });
    const components = await orEnd(start, endBegun);
    const begin = () =>
      systems.startSystem(localContext, components, {
        ...(options.port === undefined ? {} : { apiPort: options.port }),
        onEvent: ({ process: name, what, pid, detail }) => {
          const who = pid === undefined ? name : `${name} ${pid}`;
          const line = `${who} ${what}${detail === undefined ? '' : `: ${detail}`}`;
          if (what === 'refused') terminal.say(`${terminal.paint.icon('bad')} ${name} is not started again. ${detail}`);
          else terminal.say(terminal.paint.dim(line));
        },
      });
    const system = await orEnd(begin, endBegun);
    try {
      const file = writeConnectionFile(localContext.stateFolder, { url: system.url, token: system.token });
      const addresses = {
        api: system.url,
        documentation: `${system.url}/docs`,
        temporalUi: system.temporalUi ?? null,
        registry: components.registry.address,
        engine: components.docker.address,
        ...(withDatabase ? { applicationDatabase: components.applicationPostgres.address } : {}),
        connection: file,
      };
      terminal.result('up', addresses, () =>
        addressPage(addresses, join(localContext.stateFolder, 'secrets/admin-token'), (text) =>
          terminal.paint.bold(text),
        ),
      );
      await keepUp(
        stop,
        async () => {
          const states = await local.status(place);
          if (states.some(({ running, name }) => !running && !['api', 'worker'].includes(name))) await start();
        },
        {
          retries: createRetries(lookEveryMs),
          report: (problem) => terminal.say(problem),
        },
      );
    } finally {
      terminal.say('stopping; what was deployed goes on');
      await system.stop();
    }
    tellEnd(await local.down({ ...place, target: 'keep' }));
  } finally {
    release();
  }
}

/** An installation that does not come up leaves nothing behind that it began. */
async function orEnd<T>(work: () => Promise<T>, end: () => Promise<void>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    await end();
    throw error;
  }
}

/** `slipway down`: tells the `up` of this folder to stop, and waits until it has. */
export async function down(
  context: CommandContext,
  options: { readonly state: string; readonly everything?: true | undefined },
): Promise<void> {
  const { terminal } = context;
  const stateFolder = resolve(options.state);
  if (!existsSync(stateFolder)) throw new CliError('not-found', `There is no installation in ${stateFolder}.`);
  const [{ endHolder }, local] = await Promise.all([import('../../local/claim.ts'), import('../../local/up.ts')]);
  let wasUp = false;
  await endHolder(stateFolder, {
    graceMs: context.timeoutMs,
    onFound: ({ pid }) => {
      wasUp = true;
      terminal.say(`stopping process ${pid}`);
    },
  });
  const { ended, kept } = await local.down({ stateFolder, target: options.everything === true ? 'end' : 'keep' });
  terminal.result('down', { ended, kept }, () =>
    [
      ended.length > 0 ? `ended: ${ended.join(', ')}` : wasUp ? 'Slipway has stopped' : 'nothing was left to end',
      ...kept.map((line) => `goes on: ${line}`),
    ].join('\n'),
  );
}

function addressPage(
  addresses: Readonly<Record<string, string | null>>,
  tokenFile: string,
  bold: (text: string) => string,
): string {
  const words: Readonly<Record<string, string>> = {
    api: 'API',
    documentation: 'its documentation',
    temporalUi: 'Temporal UI',
    registry: 'registry',
    engine: 'Docker engine',
    applicationDatabase: 'database server for services',
    connection: 'address and token for commands',
  };
  const rows = Object.entries(addresses).map(
    ([name, value]) => `  ${(words[name] ?? name).padEnd(32)}${value ?? 'none'}`,
  );
  const elsewhere = `  export SLIPWAY_URL=${addresses['api'] ?? ''} SLIPWAY_TOKEN_FILE=${tokenFile}`;
  return [
    bold('Slipway is up.'),
    ...rows,
    '',
    'For commands typed in another folder:',
    elsewhere,
    '',
    'Ctrl-C stops Slipway; what it deployed goes on.',
  ].join('\n');
}

/** Aborted by Ctrl-C as every command is, by SIGTERM, which is how a service manager stops it, and when its terminal is closed. */
function stopSignal(interrupted: AbortSignal): AbortSignal {
  const terminated = new AbortController();
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.once(signal, () => terminated.abort());
  return AbortSignal.any([interrupted, terminated.signal]);
}

/** What cannot be had is tried less and less often, once a minute in the end, and said when there is something new to say. */
async function keepUp(
  stop: AbortSignal,
  look: () => Promise<void>,
  { retries, report }: { readonly retries: Retries; readonly report: (problem: string) => void },
): Promise<void> {
  let pauseMs = lookEveryMs;
  while (!stop.aborted) {
    await delay(pauseMs, undefined, { signal: stop }).catch(() => undefined);
    if (isAborted(stop)) return;
    try {
      await look();
      retries.worked();
      pauseMs = lookEveryMs;
    } catch (error) {
      const failed = retries.failed(error instanceof Error ? error.message : String(error));
      pauseMs = failed.pauseMs;
      const often = failed.times === 1 ? '' : `${failed.times} times in a row: `;
      if (failed.news) report(`${often}${failed.reason} Tried again in ${pauseMs / 1_000} s.`);
    }
  }
}

/** A function, for the compiler does not know that it changes while something is awaited. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}

/**
 * Two supervisors of one folder would end each other's processes.
 *
 * @throws CliError `conflict` - another one runs.
 */
async function claimFolder(stateFolder: string): Promise<() => void> {
  const [{ identityOf }, { claimFile, readHolder }] = await Promise.all([
    import('../../effects/daemon.ts'),
    import('../../local/claim.ts'),
  ]);
  const file = claimFile(stateFolder);
  mkdirSync(join(stateFolder, 'run'), { recursive: true });
  const holder = readHolder(stateFolder);
  if (holder !== undefined) {
    throw new CliError('conflict', `Slipway is up already: process ${holder.pid} keeps ${stateFolder}.`, {
      next: [
        { command: 'slipway status', when: 'to look at it' },
        { command: 'slipway down', when: 'to stop it' },
      ],
    });
  }
  writeFileSync(file, JSON.stringify({ pid: process.pid, started: identityOf(process.pid) ?? '' }));
  return () => {
    rmSync(file, { force: true });
  };
}
