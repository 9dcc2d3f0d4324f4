import { createHash } from 'node:crypto';
import { userInfo } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import type Docker from 'dockerode';
import type { ContainerStep } from '../../definition/specs.ts';
import { ProviderError } from '../../domain/failures.ts';
import { createTail } from '../../effects/tail.ts';
import { connectEngine, engineError, isEngineGone, messageOf, readEvents, statusOf } from '../builders/engine.ts';
import type { RegistryCredentials } from '../registries/port.ts';
import { argumentsOf, folderOf } from './command.ts';
import { readFrames } from './frames.ts';
import type { StageScope, StageSession, StepEnd, StepExecutor, StepRun } from './port.ts';

export interface ContainerExecutorOptions {
  /** Of the engine, as in DOCKER_HOST. It must see the worker's files under the same paths. */
  readonly address: string;
  /** Name and password for images of this registry. */
  readonly credentials?: (image: string) => Promise<RegistryCredentials | undefined>;
  /** Puts into every container a label that tells this installation's from another's on the same engine. */
  readonly labels?: Readonly<Record<string, string>>;
}

/** More would be a bomb of forks (judgement). */
const maxProcesses = 4_096;
/** PATH of steps; an image's own would be that of whoever made it. */
const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** Longer than any stage; the container is ended when the stage is. */
const holdCommand = ['sleep', '2147483647'];
const maxTailBytes = 16_384;

/**
 * Steps in containers: one for all steps of a stage that share image, network and limits, each step by `exec`.
 *
 * A container has the checkout and HOME and nothing else of the worker: no socket of the engine, no capabilities, no way to gain rights, its
 * own root read-only, temporary folders in memory, the worker's user, so that the files of a checkout stay the worker's.
 */
export async function createContainerExecutor(options: ContainerExecutorOptions): Promise<StepExecutor<ContainerStep>> {
  const docker = await connectEngine(options.address);
  return {
    kind: 'container',
    async open(scope, signal) {
      await reap(docker, scope);
      return createSession(docker, options, scope, signal);
    },
  };
}

function createSession(
  docker: Docker,
  options: ContainerExecutorOptions,
  scope: StageScope,
  signal: AbortSignal,
): StageSession<ContainerStep> {
  const containers = new Map<string, Promise<Docker.Container>>();

  async function start(run: StepRun<ContainerStep>, key: string): Promise<Docker.Container> {
    await ensureImage(docker, options, run, signal);
    signal.throwIfAborted();
    try {
      const container = await docker.createContainer(specOf(options, scope, run.step, key));
      await container.start();
      return container;
    } catch (error) {
      throw startError(error, run.step);
    }
  }

  return {
    async run(run) {
      const key = keyOf(run.step);
      const folder = await folderOf(scope.source, run.step);
      let starting = containers.get(key);
      if (starting === undefined) {
        starting = start(run, key);
        containers.set(key, starting);
        starting.catch(() => containers.delete(key));
      }
      const container = await starting;
      try {
        const end = await execute(docker, container, { run, folder, home: scope.home });
        // What was ended took its container along; the next step gets a new one.
        if (end.timedOut || end.stalled) await drop(container);
        return end;
      } catch (error) {
        await drop(container);
        if (run.signal.aborted) throw run.signal.reason;
        throw engineError(error, `run ${run.step.name}`);
      }

      async function drop(dropped: Docker.Container): Promise<void> {
        containers.delete(key);
        await remove(dropped);
      }
    },
    async close() {
      const open = [...containers.values()];
      containers.clear();
      await Promise.all(open.map((starting) => starting.then(remove).catch(() => undefined)));
    },
  };
}

/** What an earlier attempt at the stage left, whose worker could not end it. */
async function reap(docker: Docker, scope: StageScope): Promise<void> {
  const label = [
    `slipway.role=step`,
    `slipway.project=${scope.project}`,
    `slipway.run=${scope.run}`,
    `slipway.stage=${scope.stage}`,
  ];
  try {
    const left = await docker.listContainers({ all: true, filters: JSON.stringify({ label }) });
    await Promise.all(left.map(({ Id }) => remove(docker.getContainer(Id))));
  } catch (error) {
    throw engineError(error, `end what an earlier attempt at ${scope.stage} left`);
  }
}

async function remove(container: Docker.Container): Promise<void> {
  try {
    await container.remove({ force: true, v: true });
  } catch (error) {
    // Gone, or on its way.
    if (![404, 409].includes(statusOf(error) ?? 0)) throw error;
  }
}

/** Steps with the same key share a container. */
function keyOf({ image, network, resources }: ContainerStep): string {
  return createHash('sha256')
    .update(JSON.stringify([image, network, resources]))
    .digest('hex')
    .slice(0, 12);
}

function specOf(
  options: ContainerExecutorOptions,
  scope: StageScope,
  step: ContainerStep,
  key: string,
): Docker.ContainerCreateOptions {
  const { uid, gid } = userInfo();
  const { cpus, memoryBytes } = step.resources;
  return {
    name: `slipway-step-${scope.project}-${scope.number}-${scope.stage}-${scope.attempt}-${key}`,
    Image: step.image,
    Entrypoint: holdCommand.slice(0, 1),
    Cmd: holdCommand.slice(1),
    User: `${uid}:${gid}`,
    WorkingDir: scope.source,
    Labels: {
      ...options.labels,
      'slipway.role': 'step',
      'slipway.project': scope.project,
      'slipway.run': scope.run,
      'slipway.number': String(scope.number),
      'slipway.stage': scope.stage,
      'slipway.attempt': String(scope.attempt),
    },
    HostConfig: {
      Binds: [`${scope.source}:${scope.source}`, `${scope.home}:${scope.home}`, `${scope.objects}:${scope.objects}:ro`],
      NetworkMode: step.network,
      CapDrop: ['ALL'],
      SecurityOpt: ['no-new-privileges'],
      PidsLimit: maxProcesses,
      ReadonlyRootfs: true,
      Tmpfs: {
        '/tmp': 'rw,exec,nosuid,nodev,mode=1777',
        '/var/tmp': 'rw,exec,nosuid,nodev,mode=1777',
        '/run': 'rw,nosuid,nodev,mode=1777',
      },
      // Reaps what steps leave behind, which the holding command does not.
      Init: true,
      LogConfig: { Type: 'none', Config: {} },
      RestartPolicy: { Name: 'no' },
      ...(cpus === undefined ? {} : { NanoCpus: Math.round(cpus * 1e9) }),
      // Without the second figure as much again may be swapped.
      ...(memoryBytes === undefined ? {} : { Memory: memoryBytes, MemorySwap: memoryBytes }),
    },
  };
}

async function ensureImage(
  docker: Docker,
  options: ContainerExecutorOptions,
  { step, say }: StepRun<ContainerStep>,
  signal: AbortSignal,
): Promise<void> {
  const { image } = step;
  try {
    await docker.getImage(image).inspect();
    return;
  } catch (error) {
    if (statusOf(error) !== 404) throw engineError(error, `look for the image ${image}`);
  }
  say(`fetching the image ${image}`);
  try {
    const credentials = await options.credentials?.(image);
    const auth =
      credentials === undefined
        ? {}
        : {
            authconfig: {
              username: credentials.username,
              password: credentials.password,
              serveraddress: credentials.address,
            },
          };
    const tag = /[:@][^/]*$/.test(image) ? {} : { tag: 'latest' };
    const stream = await docker.createImage({ ...auth, ...tag, fromImage: image, abortSignal: signal });
    for await (const { status } of readEvents(stream as AsyncIterable<Buffer>)) {
      if (status?.startsWith('Status:') === true) say(status);
    }
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    if (isEngineGone(error)) throw engineError(error, `fetch the image ${image}`);
    const said = messageOf(error);
    const type = /not found|manifest unknown|denied|unauthorized|does not exist|invalid reference/i.test(said)
      ? 'ImageNotFound'
      : 'RegistryUnavailable';
    throw new ProviderError(type, `the image ${image} of ${step.name} could not be fetched: ${said}`, { cause: error });
  }
}

function startError(error: unknown, step: ContainerStep): Error {
  if (/executable file not found|no such file or directory: unknown/i.test(messageOf(error))) {
    return new ProviderError(
      'ToolMissing',
      `the image ${step.image} has no \`sleep\`, which keeps the container of a stage alive`,
      {
        cause: error,
      },
    );
  }
  return engineError(error, `start a container of ${step.image} for ${step.name}`);
}

interface Execution {
  readonly run: StepRun<ContainerStep>;
  readonly folder: string;
  readonly home: string;
}

async function execute(
  docker: Docker,
  container: Docker.Container,
  { run, folder, home }: Execution,
): Promise<StepEnd> {
  const { step, signal } = run;
  const began = performance.now();
  const exec = await container.exec({
    Cmd: [...argumentsOf(step.command)],
    Env: Object.entries({ PATH: defaultPath, HOME: home, ...run.env }).map(([name, value]) => `${name}=${value}`),
    WorkingDir: folder,
    AttachStdout: true,
    AttachStderr: true,
    Tty: false,
  });
  const socket = await exec.start({ hijack: true, stdin: false });
  let endedBy: 'timeout' | 'stall' | 'abort' | undefined;
  let handing = false;

  function end(reason: NonNullable<typeof endedBy>): void {
    if (endedBy !== undefined) return;
    endedBy = reason;
    // An exec cannot be signalled through the engine; its container can.
    container
      .kill({ signal: 'SIGKILL' })
      .catch(() => undefined)
      .finally(() => socket.destroy());
  }
  const onAbort = (): void => end('abort');
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) end('abort');
  const timeout = setTimeout(() => end('timeout'), Math.min(run.timeoutMs, 2_147_483_647));
  const stall = setTimeout(
    () => {
      // Silence while we keep it waiting is ours.
      if (handing) stall.refresh();
      else end('stall');
    },
    Math.min(step.stallAfterMs, 2_147_483_647),
  );
  const tail = createTail(maxTailBytes);
  const redacting = run.redactor.stream();
  async function give(parts: readonly Buffer[]): Promise<void> {
    for (const part of parts) {
      tail.push(part);
      await run.sink(part);
    }
  }
  try {
    for await (const chunk of readFrames(socket)) {
      handing = true;
      const parts: Buffer[] = [];
      redacting.push(chunk, (part) => void parts.push(part));
      await give(parts);
      handing = false;
      stall.refresh();
    }
  } catch (error) {
    if (endedBy === undefined) throw error;
  } finally {
    clearTimeout(timeout);
    clearTimeout(stall);
    signal.removeEventListener('abort', onAbort);
    socket.destroy();
  }
  const rest: Buffer[] = [];
  redacting.end((part) => void rest.push(part));
  await give(rest);
  if (endedBy === 'abort') throw signal.reason;
  const exitCode = endedBy === undefined ? await exitCodeOf(docker, exec.id, step) : 137;
  if (exitCode >= 126 && tail.text().includes('OCI runtime exec failed')) {
    const [program] = argumentsOf(step.command);
    throw new ProviderError('ToolMissing', `${program} is not in the image ${step.image}, or is no program`, {
      details: { program, image: step.image },
    });
  }
  return {
    exitCode,
    durationMs: performance.now() - began,
    tail: tail.text(),
    timedOut: endedBy === 'timeout',
    stalled: endedBy === 'stall',
  };
}

/** The stream may end a moment before the engine has noted the status. */
async function exitCodeOf(docker: Docker, id: string, step: ContainerStep): Promise<number> {
  for (let tries = 0; tries < 100; tries += 1) {
    const { Running, ExitCode } = await docker.getExec(id).inspect();
    if (!Running && ExitCode !== null) return ExitCode;
    await delay(20);
  }
  throw new ProviderError('EngineUnavailable', `the engine does not say how ${step.name} ended`);
}
