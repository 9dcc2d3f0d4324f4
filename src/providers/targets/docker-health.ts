import { request } from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import type Docker from 'dockerode';
import { ProviderError } from '../../domain/failures.ts';
import { readLastLines } from './container-log.ts';
import { askEngine } from './docker-client.ts';
import { toSlotState } from './docker-container.ts';
import type { ReadyOptions, SlotState } from './port.ts';

/** Between two tries, ms: short, for a release is usually ready a few tries after its start. */
const tryEveryMs = 40;
/** Lines of the container and tries that go into the error. */
const keptLines = 50;
const keptTries = 20;

/** Waits for the health of one container; see {@link Target.awaitHealthy}. */
export async function awaitContainerHealthy(
  docker: Docker,
  id: string,
  address: string,
  options: ReadyOptions,
): Promise<number> {
  const startedAt = performance.now();
  const tries: string[] = [];
  let restartsBefore: number | undefined;
  for (;;) {
    options.signal?.throwIfAborted();
    const info = await askEngine('look at the container', () => docker.getContainer(id).inspect());
    const state = toSlotState(info);
    if (state === undefined) throw new ProviderError('ReleaseMissing', `container ${id} is no longer one of a slot`);
    restartsBefore ??= state.state === 'restarting' ? -1 : state.restarts;
    const atMs = Math.round(performance.now() - startedAt);
    const ended = state.state !== 'running' || state.restarts > restartsBefore;
    const exitCode = ended ? await readExitCode(docker, info) : undefined;
    const seen = ended ? describeEnd(info, exitCode) : await look(state, address, options);
    const line = `${atMs} ms: ${seen}`;
    if (tries.at(-1)?.replace(/^\d+ ms/, '') !== line.replace(/^\d+ ms/, '')) tries.push(line);
    options.onTry?.(line);
    if (seen === healthy) return performance.now() - startedAt;
    if (ended || state.health === 'unhealthy') throw await unhealthy(docker, info, state, exitCode, seen, tries);
    if (atMs >= options.timeoutMs) {
      const inside = await lookInside(info, options);
      const what = `not healthy within ${options.timeoutMs} ms, last seen: ${seen}${inside ?? ''}`;
      throw await unhealthy(docker, info, state, exitCode, what, tries);
    }
    await delay(tryEveryMs);
  }
}

const healthy = 'healthy';

async function look(state: SlotState, address: string, options: ReadyOptions): Promise<string> {
  if (options.path !== undefined) {
    const url = `http://${address}${options.path}`;
    const status = await ask(url, options.requestTimeoutMs ?? 2_000);
    // Exactly 200 (specification, 2.17): a redirect, as to a page to log in at, says nothing of the release.
    return status === 200 ? healthy : `GET ${url}: ${status}`;
  }
  if (state.health === 'none' || state.health === 'healthy') return healthy;
  return `the check of the container says ${state.health}`;
}

/**
 * Asks the container past its published port, once: whether the service or the way to it is at fault decides who is
 * woken. Nothing where its own address is out of reach, as with an engine on another machine.
 */
async function lookInside(info: Docker.ContainerInspectInfo, options: ReadyOptions): Promise<string | undefined> {
  const port = Object.keys((info.HostConfig.PortBindings ?? {}) as Record<string, unknown>)[0]?.split('/')[0];
  const ip = Object.values(info.NetworkSettings.Networks)[0]?.IPAddress;
  if (options.path === undefined || port === undefined || ip === undefined || ip === '') return undefined;
  const status = await ask(`http://${ip}:${port}${options.path}`, options.requestTimeoutMs ?? 2_000);
  const where = `, at its own address ${ip}:${port}: ${status}`;
  return status === 200 ? `${where}, so the engine does not forward its published port` : where;
}

function ask(url: string, timeoutMs: number): Promise<number | string> {
  return new Promise((resolve) => {
    // A connection of its own each time: one kept alive could be to a container that is gone.
    const outgoing = request(url, { agent: false, timeout: timeoutMs }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer within ${timeoutMs} ms`)));
    outgoing.on('error', (error) => resolve(error.message));
    outgoing.end();
  });
}

/** Of its last end. One that was started again already has none of its own any more; then the engine's record of what happened has it. */
async function readExitCode(
  docker: Docker,
  { Id, Created, State }: Docker.ContainerInspectInfo,
): Promise<number | undefined> {
  if (!State.Running) return State.ExitCode;
  try {
    const events = await docker.getEvents({
      since: Math.floor(Date.parse(Created) / 1_000),
      // With an end the answer has one too.
      until: Math.ceil(Date.now() / 1_000),
      filters: { container: [Id], event: ['die'] },
    });
    const lines = (await text(events)).trim().split('\n');
    const last = JSON.parse(lines.at(-1) ?? '') as { Actor?: { Attributes?: { exitCode?: string } } };
    const exitCode = Number(last.Actor?.Attributes?.exitCode);
    return Number.isInteger(exitCode) ? exitCode : undefined;
  } catch {
    // It keeps only so many; that it ended is known all the same.
    return undefined;
  }
}

function describeEnd({ State, RestartCount }: Docker.ContainerInspectInfo, exitCode: number | undefined): string {
  const why = State.OOMKilled
    ? ', killed for going over its memory limit'
    : State.Error === ''
      ? ''
      : `, ${State.Error}`;
  const again = RestartCount > 0 ? `, started again ${RestartCount} times` : '';
  return `ended${exitCode === undefined ? '' : ` with exit code ${exitCode}`}${why}${again}`;
}

async function unhealthy(
  docker: Docker,
  info: Docker.ContainerInspectInfo,
  state: SlotState,
  exitCode: number | undefined,
  what: string,
  tries: readonly string[],
): Promise<ProviderError> {
  const log = await readLastLines(docker, state.id, keptLines).catch(() => ['(its log cannot be read)']);
  const checks = info.State.Health?.Log.map(
    (check) => `exit code ${check.ExitCode}: ${check.Output.trim().slice(0, 200)}`,
  );
  const said = log.findLast((line) => line.trim() !== '');
  const lastLine = said === undefined ? 'it wrote nothing' : `its last line: ${said.trim().slice(0, 200)}`;
  return new ProviderError('ContainerUnhealthy', `container ${state.name} is not healthy: ${what}; ${lastLine}`, {
    details: {
      container: state.name,
      ...(exitCode === undefined ? {} : { exitCode }),
      lastLines: log,
      tries: tries.slice(-keptTries),
      ...(checks === undefined || checks.length === 0 ? {} : { checks: checks.slice(-5) }),
    },
  });
}
