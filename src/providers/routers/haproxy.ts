import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, readFile, readdir, rename, rm, unlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pLimit from 'p-limit';
import { z } from 'zod';
import { ProviderError } from '../../domain/failures.ts';
import type { Slot } from '../../domain/release.ts';
import { runTool } from '../../effects/process.ts';
import { backendName, parseRoute, renderRoute, routeFileName, serverName } from './haproxy-file.ts';
import type { ParsedRoute } from './haproxy-file.ts';
import { ask, parseProcesses, parseStats } from './haproxy-socket.ts';
import { isOut, isServer, isUp, steering } from './haproxy-steering.ts';
import type { RouterProcesses, StatRow } from './haproxy-socket.ts';
import type { Route, RouteRef, Router, RunningRoute, TrafficState } from './port.ts';

/** Where one HAProxy in master-worker mode keeps its files, as the worker of Slipway sees them. */
export const HaproxyRouter = z.strictObject({
  kind: z.literal('haproxy'),
  configFolder: z.string().describe('Folder that the router loads all *.cfg of, in lexical order.'),
  masterSocket: z.string().describe("Unix socket of the router's master process (haproxy -S)."),
  statsSocket: z.string().describe('Unix socket of the runtime API (stats socket).'),
  binary: z
    .string()
    .optional()
    .describe('Program that checks a file before it is applied. Default: the one in `container`.'),
  container: z
    .strictObject({
      name: z.string().describe('Container that the router runs in; its folders have the same paths as here.'),
      docker: z.string().default('unix:///var/run/docker.sock').describe('Address of its engine, as in DOCKER_HOST.'),
      binary: z.string().default('haproxy'),
    })
    .optional()
    .describe('Needed when there is no `binary`: the check runs inside.'),
  applyTimeoutMs: z
    .number()
    .int()
    .positive()
    .default(5_000)
    .describe('How long a new file may take to serve, ms. Default 5,000; 45 ms is usual.'),
});
export type HaproxyRouter = z.infer<typeof HaproxyRouter>;

/** Lines of the router's own complaint that go into an error. */
const complaintLines = 10;
/** How long the master is given to act on one reload before it is asked again: it refuses connections while it starts itself anew. */
const reloadPatienceMs = 400;

/** How long a worker that does not do yet as it was told is told again, ms. Judgement; 2 ms is usual. */
const steerPatienceMs = 2_000;

/** Folders that need no second check; a switch knows two, forward and back. Judgement. */
const rememberedChecks = 100;

type Check = (folder: string, signal: AbortSignal | undefined) => Promise<{ ok: boolean; output: string }>;

/** Creates the router that is moved by rendering files for a running HAProxy. */
export async function createHaproxyRouter(options: HaproxyRouter): Promise<Router> {
  const { configFolder, masterSocket, statsSocket } = options;
  const check = await createCheck(options);
  /** Hashes of folders that this router has found sound; one that is not known is checked. */
  const sound = new Set<string>();
  // Reloads of one router follow one another; each call waits for its own file to serve.
  const inTurn = pLimit(1);

  const fileOf = (ref: RouteRef): string => join(configFolder, routeFileName(ref));

  async function readStats(): Promise<StatRow[]> {
    return parseStats(await ask(statsSocket, 'show stat'));
  }

  async function readProcesses(): Promise<RouterProcesses> {
    return parseProcesses(await ask(masterSocket, 'show proc'));
  }

  /** For the moments after a reload, when the new worker serves already and the master does not listen yet. */
  async function awaitProcesses(): Promise<RouterProcesses> {
    const deadline = performance.now() + reloadPatienceMs;
    for (;;) {
      try {
        return await readProcesses();
      } catch (error) {
        if (performance.now() > deadline) throw error;
        await delay(3);
      }
    }
  }

  /**
   * The statistics of every worker that only finishes what it had. One that ended meanwhile answers with nothing, and so does a master that is
   * just starting itself anew: only who is no longer listed has nothing to say.
   *
   * @throws Error when a worker that is there gives no answer.
   */
  async function readFormerStats(): Promise<StatRow[][]> {
    const deadline = performance.now() + reloadPatienceMs;
    for (;;) {
      const { workers } = await awaitProcesses();
      const former = workers.filter((worker) => worker.old);
      const answers: StatRow[][] = [];
      for (const { pid } of former) answers.push(parseStats(await ask(masterSocket, `@!${pid} show stat`)));
      if (answers.every((rows) => rows.length > 0)) return answers;
      if (performance.now() > deadline) throw new Error('a worker that is finishing does not answer');
      await delay(3);
    }
  }

  /** Checks the whole folder with one file added, replaced or (null) left out, in a folder beside it that the router does not load. */
  async function checkWith(name: string, text: string | null, signal: AbortSignal | undefined): Promise<void> {
    const files = await readFolderWith(name, text);
    const hash = createHash('sha256').update(JSON.stringify(files)).digest('hex');
    if (sound.has(hash)) return;
    const folder = join(configFolder, '.check', randomUUID());
    await mkdir(folder, { recursive: true });
    try {
      await Promise.all(files.map(([file, content]) => writeFile(join(folder, file), content)));
      const { ok, output } = await check(folder, signal);
      if (!ok) throw refused(name, output.replaceAll(`${folder}/`, ''));
      if (sound.size >= rememberedChecks) sound.clear();
      sound.add(hash);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  /** What the folder would hold, in the order in which it is loaded. */
  async function readFolderWith(name: string, text: string | null): Promise<(readonly [string, string])[]> {
    const others = (await readdir(configFolder)).filter((entry) => entry.endsWith('.cfg') && entry !== name);
    const read = await Promise.all(
      others.map(async (entry) => [entry, await readIfThere(join(configFolder, entry))] as const),
    );
    // Another route may have been removed while this one is checked.
    const there = read.filter((file): file is readonly [string, string] => file[1] !== undefined);
    return [...there, ...(text === null ? [] : [[name, text] as const])].sort(([a], [b]) => (a < b ? -1 : 1));
  }

  /** Reloads until `applied` holds; asks again where a reload was lost between two starts of the master. */
  async function reloadUntil(
    applied: (rows: readonly StatRow[]) => boolean,
    name: string,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const deadline = performance.now() + options.applyTimeoutMs;
    let failedBefore: number | undefined;
    let asked = -Infinity;
    let last: unknown;
    while (performance.now() < deadline) {
      signal?.throwIfAborted();
      try {
        if (performance.now() - asked > reloadPatienceMs) {
          const { failedReloads } = await readProcesses();
          if (failedBefore !== undefined && failedReloads > failedBefore)
            throw refused(name, 'see the log of the router');
          failedBefore ??= failedReloads;
          await ask(masterSocket, 'reload', { keepOpen: true });
          asked = performance.now();
        }
        if (applied(await readStats())) return;
      } catch (error) {
        if (error instanceof ProviderError) throw error;
        last = error;
      }
      await delay(3);
    }
    throw unavailable(`did not apply ${name} within ${options.applyTimeoutMs} ms`, last);
  }

  /**
   * Tells the present worker by the runtime API what the file says already, until its statistics say the same. The reload alone would leave
   * kept-alive connections with the former release until their next answer, and a worker that finishes after a reload takes no more commands.
   *
   * Best effort: the reload that follows makes it certain and lasting. A router that is only slow to answer is asked again.
   */
  async function steer(route: Route): Promise<void> {
    const deadline = performance.now() + steerPatienceMs;
    for (;;) {
      try {
        const commands = steering(route, await readStats());
        if (commands.length === 0) return;
        await ask(statsSocket, commands.join('; '));
      } catch (error) {
        // Gone, it has nobody to tell.
        if ((error as NodeJS.ErrnoException).code !== 'ETIMEDOUT') return;
      }
      if (performance.now() > deadline) return;
      await delay(3);
    }
  }

  async function apply(ref: RouteRef, route: Route | null, signal: AbortSignal | undefined): Promise<void> {
    const rendered = route === null ? null : renderRoute(route);
    const name = routeFileName(ref);
    const file = fileOf(ref);
    const former = await readIfThere(file);
    let uncheckable: unknown;
    try {
      await checkWith(name, rendered?.text ?? null, signal);
    } catch (error) {
      // The router is gone and the check with it. The file must say the right thing all the same for whoever starts it again.
      if (!(error instanceof ProviderError) || error.type !== 'RouterUnavailable') throw error;
      uncheckable = error;
    }
    await replaceFile(file, rendered?.text);
    if (uncheckable !== undefined) throw uncheckable as Error;
    try {
      if (route !== null) await steer(route);
      await reloadUntil((rows) => generationOf(ref, rows) === rendered?.generation, name, signal);
    } catch (error) {
      if (error instanceof ProviderError && error.type === 'RouterConfigInvalid') {
        await replaceFile(file, former);
        const formerRoute = former === undefined ? undefined : parseRoute(former)?.route;
        if (formerRoute !== undefined) await steer(formerRoute);
      }
      throw error;
    }
  }

  async function readTraffic(ref: RouteRef): Promise<TrafficState> {
    const text = await readIfThere(fileOf(ref));
    const parsed = text === undefined ? undefined : parseRoute(text);
    const running = await readStats().then(
      (rows) => toRunning(ref, rows, parsed),
      () => 'unreachable' as const,
    );
    const inSync =
      running !== 'unreachable' &&
      (parsed === undefined
        ? text === undefined && running === null
        : running?.generation === parsed.generation && !parsed.edited);
    return {
      rendered: parsed?.route ?? null,
      generation: parsed?.generation ?? null,
      edited: text !== undefined && (parsed?.edited ?? true),
      running,
      inSync,
    };
  }

  return {
    async ensureTraffic(route, signal) {
      const startedAt = performance.now();
      const rendered = renderRoute(route);
      requireValid(route);
      return inTurn(async () => {
        const present = await readTraffic(route);
        const changed = !present.inSync || present.generation !== rendered.generation;
        if (changed) await apply(route, route, signal);
        return { changed, movedAt: new Date().toISOString(), tookMs: performance.now() - startedAt };
      });
    },

    async checkRoute(route, signal) {
      requireValid(route);
      await checkWith(routeFileName(route), renderRoute(route).text, signal);
    },

    readTraffic,

    async readSessions(ref, slot) {
      const backend = backendName(ref);
      const count = (rows: readonly StatRow[]): number =>
        rows
          .filter((row) => row.proxy === backend && isServer(row) && row.name.startsWith(`${slot}:`))
          .reduce((sum, row) => sum + row.currentSessions, 0);
      try {
        const present = count(await readStats());
        let [finishing, lingering] = [0, 0];
        for (const rows of await readFormerStats()) {
          finishing += count(rows);
          if (mayBeAsked(ref, slot, rows)) lingering += connectionsOf(ref, rows);
        }
        return { current: present + finishing, finishing, lingering };
      } catch (error) {
        throw unavailable('does not say which requests are under way', error);
      }
    },

    async removeRoute(ref, signal) {
      await inTurn(async () => {
        const present = await readTraffic(ref);
        if (present.inSync && present.generation === null) return;
        await apply(ref, null, signal);
      });
    },
  };

  function unavailable(what: string, cause: unknown): ProviderError {
    const reason = cause instanceof Error ? `: ${cause.message}` : '';
    return new ProviderError('RouterUnavailable', `the router at ${masterSocket} ${what}${reason}`, {
      details: { masterSocket, statsSocket },
      cause,
    });
  }
}

async function createCheck(options: HaproxyRouter): Promise<Check> {
  const { binary, container } = options;
  if (binary !== undefined) {
    return async (folder, signal) => {
      const result = await runTool({
        command: [binary, '-c', '-f', folder],
        timeoutMs: 5_000,
        ...(signal === undefined ? {} : { signal }),
      });
      const output = `${result.stdout}\n${result.stderr}`;
      if (result.exitCode === 0 || result.exitCode === 1) return { ok: result.exitCode === 0, output };
      throw new ProviderError('RouterUnavailable', `the file could not be checked by ${binary}: ${output.trim()}`, {
        details: { binary, exitCode: result.exitCode },
      });
    };
  }
  if (container === undefined) {
    throw new ProviderError(
      'ConfigurationInvalid',
      'a haproxy router needs `binary` or `container` to check its files',
    );
  }
  const { createContainerCheck } = await import('./haproxy-container.ts');
  return createContainerCheck(container);
}

/** Names of files, sections and servers are made of these; anything else could end a line of the file and begin another. */
const nameForm = /^[A-Za-z0-9_.-]+$/;
const addressForm = /^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9_.*-]*):\d{1,5}$/;

function requireValid(route: Route): void {
  const problems = [
    ...[route.project, route.environment]
      .filter((name) => !nameForm.test(name))
      .map((name) => `name ${JSON.stringify(name)}`),
    ...[...route.listen, ...route.servers.map((server) => server.address)]
      .filter((address) => !addressForm.test(address))
      .map((address) => `address ${JSON.stringify(address)}`),
    ...(route.listen.length === 0 ? ['no address to listen on'] : []),
    ...(route.healthPath === undefined || /^\/[^\s"'\\]*$/.test(route.healthPath)
      ? []
      : [`health path ${JSON.stringify(route.healthPath)}`]),
    ...route.servers
      .filter((server) => !Number.isInteger(server.weight) || server.weight < 1 || server.weight > 256)
      .map((server) => `weight ${server.weight} of ${server.slot}`),
    ...(new Set(route.servers.map((server) => server.slot)).size === route.servers.length
      ? []
      : ['two servers in one slot']),
  ];
  if (problems.length === 0) return;
  throw new ProviderError(
    'RouterConfigInvalid',
    `the route of ${route.project}/${route.environment} cannot be rendered: ${problems.join(', ')}`,
    { details: { problems } },
  );
}

function refused(name: string, output: string): ProviderError {
  const lines = output
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .slice(-complaintLines);
  return new ProviderError(
    'RouterConfigInvalid',
    `the router refused ${name}: ${lines.find((line) => line.includes('[ALERT]')) ?? lines.at(-1) ?? 'without a word'}`,
    {
      details: { file: name, output: lines },
    },
  );
}

function generationOf(ref: RouteRef, rows: readonly StatRow[]): string | undefined {
  const prefix = `${backendName(ref)}:`;
  return rows.find((row) => row.name === 'FRONTEND' && row.proxy.startsWith(prefix))?.proxy.slice(prefix.length);
}

/** Whether a worker would give a new request to the slot: by turn, or as the last resort when its live server refuses. */
function mayBeAsked(ref: RouteRef, slot: Slot, rows: readonly StatRow[]): boolean {
  return rows.some(
    (row) => row.proxy === backendName(ref) && isServer(row) && row.name.startsWith(`${slot}:`) && !isOut(row),
  );
}

/** Connections of users to a route at one worker. */
function connectionsOf(ref: RouteRef, rows: readonly StatRow[]): number {
  const prefix = `${backendName(ref)}:`;
  return rows.find((row) => row.name === 'FRONTEND' && row.proxy.startsWith(prefix))?.currentSessions ?? 0;
}

function toRunning(ref: RouteRef, rows: readonly StatRow[], parsed: ParsedRoute | undefined): RunningRoute | null {
  const generation = generationOf(ref, rows);
  if (generation === undefined) return null;
  const servers = rows
    .filter((row) => row.proxy === backendName(ref) && isServer(row))
    .map((row) => {
      const [slot, ...rest] = row.name.split(':');
      const slug = rest.join(':');
      const known = parsed?.route.servers.find((server) => serverName(server) === row.name);
      return {
        slot: slot === 'green' ? ('green' as const) : ('blue' as const),
        release: known?.release ?? slug,
        role: row.backup ? ('backup' as const) : row.weight === 0 ? ('off' as const) : ('live' as const),
        weight: row.weight,
        up: isUp(row),
      };
    });
  return { generation, servers };
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

async function writeDurably(file: string, text: string): Promise<void> {
  const handle = await open(file, 'w', 0o644);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Puts the whole new file in the place of the old one at once, also across a power cut; undefined removes it. */
async function replaceFile(file: string, text: string | undefined): Promise<void> {
  if (text === undefined) {
    await unlink(file).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    });
  } else {
    const temporary = `${file}.${randomUUID()}.new`;
    await writeDurably(temporary, text);
    await rename(temporary, file);
  }
  const folder = await open(dirname(file), 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
