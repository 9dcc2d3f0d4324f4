import { createHash } from 'node:crypto';
import { userInfo } from 'node:os';
import type Docker from 'dockerode';
import type { ContainerStep } from '../../definition/specs/stage.ts';
import { ProviderError } from '../../domain/failures.ts';
import { unlessAborted, unlessOver } from '../../effects/waits.ts';
import { connectEngine, engineError, messageOf } from '../builders/engine.ts';
import { folderOf } from './command.ts';
import {
  type StageEngineOptions,
  cpuWeight,
  ensureImage,
  labelsOf,
  maxProcesses,
  reap,
  reapLabelled,
  remove,
} from './engine.ts';
import { readFrames } from './frames.ts';
import {
  type StageScope,
  type StageSession,
  type StepExecutor,
  type StepRun,
  killedCode,
  neverStarted,
} from './port.ts';
import { createMark, runStep, runnerCommand, type Runner } from './runner.ts';

export interface ContainerExecutorOptions extends StageEngineOptions {
  /** Of the engine, as in DOCKER_HOST. It must see the worker's files under the same paths. */
  readonly address: string;
  /** Whose containers these are, the same from one start of a worker to the next and no other worker's. */
  readonly owner: string;
}

/** The executor, and what it does about the worker of before. */
export interface ContainerExecutor extends StepExecutor<ContainerStep> {
  /**
   * Removes what an earlier process of the same owner has left: what a machine was at when it was lost has begun anew elsewhere, and no attempt
   * at it comes back here. Only before the first stage is taken.
   *
   * @throws `EngineUnavailable` (retried), `EngineRefused` (not retried)
   */
  reapAbandoned(): Promise<void>;
}

/** Of `/run`, where programs keep sockets and their numbers. Judgement. */
const runBytes = 64 * 1024 * 1024;
/** An engine that is well ends a container within a second. After this one is thought not to be, ms. Judgement. */
const removeMs = 30_000;
/** What a stage leaves is waited for so long, ms. Judgement. */
const closeMs = 60_000;

/**
 * Steps in containers: one for all steps of a lane of a stage that share image, network and limits.
 *
 * A container has the checkout and HOME and nothing else of the worker: no socket of the engine, no capabilities, no way to gain rights, its
 * own root read-only, temporary folders in memory, the worker's user, so that the files of a checkout stay the worker's.
 */
export async function createContainerExecutor(given: ContainerExecutorOptions): Promise<ContainerExecutor> {
  const docker = await connectEngine(given.address);
  const options = { ...given, labels: { ...given.labels, 'slipway.owner': given.owner } };
  return {
    kind: 'container',
    reapAbandoned: () =>
      reapLabelled(
        docker,
        { 'slipway.role': 'step', 'slipway.owner': given.owner },
        'remove the steps that an earlier worker left',
      ),
    async open(scope, signal) {
      await reap(docker, 'step', scope);
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
  const runners = new Map<string, Promise<Runner>>();
  /** Containers that could not be ended: no step may be given one. */
  const stuck = new Set<Runner>();
  const images = new Map<string, Promise<void>>();
  const closing = new AbortController();
  const until = AbortSignal.any([signal, closing.signal]);

  /** Once, however many steps ask for it at once. */
  async function ready(run: StepRun<ContainerStep>): Promise<void> {
    const { image } = run.step;
    const fetching = images.get(image) ?? ensureImage(docker, scope, { image, name: run.step.name }, run.say, until);
    images.set(image, fetching);
    fetching.catch(() => images.delete(image));
    await unlessAborted(fetching, run.signal);
  }
  function starting(run: StepRun<ContainerStep>, key: string): Promise<Runner> {
    const begun = runners.get(key) ?? start(run, key);
    runners.set(key, begun);
    begun.catch(() => runners.delete(key));
    return begun;
  }
  async function start(run: StepRun<ContainerStep>, key: string): Promise<Runner> {
    await ready(run);
    try {
      return await startRunner(docker, specOf(options, scope, run.step, key));
    } catch (error) {
      throw startError(error, run.step);
    }
  }

  return {
    async run(run) {
      const key = keyOf(run.step, run.lane ?? 0);
      const folder = await folderOf(scope.source, run.step);
      const began = performance.now();
      // Nobody may wait for it any more when it is there: it is ended with the stage.
      const runner = await unlessOver(starting(run, key), run);
      if (runner === undefined) return neverStarted(performance.now() - began);
      const drop = async (): Promise<void> => {
        runners.delete(key);
        try {
          await runner.kill();
        } catch (error) {
          stuck.add(runner);
          throw error;
        }
      };
      try {
        const { end, alive } = await runStep(runner, run, folder);
        if (!alive) await drop();
        return end;
      } catch (error) {
        // A missing program is no fault of the container.
        if (!(error instanceof ProviderError)) await drop().catch(() => undefined);
        if (run.signal.aborted) throw run.signal.reason;
        throw engineError(error, `run ${run.step.name}`);
      }
    },
    async close() {
      closing.abort(new Error('the stage is over'));
      const open = [...runners.values(), ...[...stuck].map((runner) => Promise.resolve(runner))];
      runners.clear();
      stuck.clear();
      const ended = open.map((begun) => begun.then((runner) => runner.kill()).catch(() => undefined));
      // What an engine does not do by then may never be done; the next attempt removes what it finds.
      await unlessOver(Promise.all(ended), { untilMs: Date.now() + closeMs });
    },
  };
}

/** The runner is the container's first program, and what it reads and says goes through the connection that is attached to it. */
async function startRunner(docker: Docker, spec: Docker.ContainerCreateOptions): Promise<Runner> {
  const mark = createMark();
  const [entrypoint, ...cmd] = runnerCommand;
  const container = await docker.createContainer({
    ...spec,
    // One that is just being removed still has its name.
    name: `${spec.name ?? 'slipway-step'}-${mark.slice(0, 6)}`,
    Entrypoint: [entrypoint],
    Cmd: cmd,
  });
  try {
    const socket = await container.attach({ stream: true, hijack: true, stdin: true, stdout: true, stderr: true });
    await container.start();
    socket.write(`${mark}\n`);
    return attachRunner(container, socket, mark);
  } catch (error) {
    await remove(container);
    throw error;
  }
}

function attachRunner(container: Docker.Container, socket: NodeJS.ReadWriteStream, mark: string): Runner {
  let take: (chunk: Buffer) => void | Promise<void> = () => undefined;
  let killing: Promise<void> | undefined;
  const isKilled = (): boolean => killing !== undefined;

  async function read(): Promise<number> {
    try {
      for await (const chunk of readFrames(socket)) await take(chunk);
    } catch (error) {
      if (!isKilled()) throw error;
    }
    if (isKilled()) return killedCode;
    // Nobody removes it but us, so how it ended can still be asked.
    const { StatusCode } = (await container.wait()) as { readonly StatusCode: number };
    return StatusCode;
  }
  async function kill(): Promise<void> {
    const gone = await unlessOver(
      remove(container).then(() => true),
      { untilMs: Date.now() + removeMs },
    );
    if (gone === undefined) {
      throw new ProviderError('EngineUnavailable', `the engine did not end a container within ${removeMs / 1_000} s`);
    }
    socket.end();
    await ended.catch(() => undefined);
  }
  const ended = read();
  // Whoever waits for a step is told; between two of them nobody waits.
  ended.catch(() => undefined);
  return {
    mark,
    ended,
    send: (line) => void socket.write(`${line}\n`),
    listen: (listener) => void (take = listener),
    kill: () =>
      (killing ??= kill().catch((error: unknown) => {
        killing = undefined;
        throw error;
      })),
  };
}

/** Steps with the same key share a container, one after the other. */
function keyOf({ image, network, resources }: ContainerStep, lane: number): string {
  return createHash('sha256')
    .update(JSON.stringify([image, network, resources, lane]))
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
  const { cpus, memoryBytes, temporaryBytes } = step.resources;
  // Without a size it would be half of the machine's memory, whatever the container may have.
  const size = temporaryBytes === undefined ? '' : `,size=${temporaryBytes}`;
  return {
    name: `slipway-step-${scope.project}-${scope.number}-${scope.stage}-${scope.attempt}-${key}`,
    Image: step.image,
    Env: [`HOME=${scope.home}`],
    OpenStdin: true,
    // With the worker the connection ends, with it the runner's input, and with that the container.
    StdinOnce: true,
    AttachStdin: true,
    AttachStdout: true,
    AttachStderr: true,
    Tty: false,
    User: `${uid}:${gid}`,
    WorkingDir: scope.source,
    Labels: { ...options.labels, ...labelsOf('step', scope) },
    HostConfig: {
      Binds: [`${scope.source}:${scope.source}`, `${scope.home}:${scope.home}`, `${scope.objects}:${scope.objects}:ro`],
      // Without a network of its own, a stage has none rather than one that others are on.
      NetworkMode: step.network === 'stage' ? (scope.network ?? 'none') : step.network,
      CapDrop: ['ALL'],
      SecurityOpt: ['no-new-privileges'],
      PidsLimit: maxProcesses,
      CpuShares: cpuWeight,
      ReadonlyRootfs: true,
      Tmpfs: {
        '/tmp': `rw,exec,nosuid,nodev,mode=1777${size}`,
        '/var/tmp': `rw,exec,nosuid,nodev,mode=1777${size}`,
        '/run': `rw,nosuid,nodev,mode=1777,size=${runBytes}`,
      },
      // Reaps what steps leave behind, which the runner does not.
      Init: true,
      LogConfig: { Type: 'none', Config: {} },
      RestartPolicy: { Name: 'no' },
      ...(cpus === undefined ? {} : { NanoCpus: Math.round(cpus * 1e9) }),
      // Without the second figure as much again may be swapped.
      ...(memoryBytes === undefined ? {} : { Memory: memoryBytes, MemorySwap: memoryBytes }),
    },
  };
}

function startError(error: unknown, step: ContainerStep): Error {
  if (/executable file not found|no such file or directory: unknown/i.test(messageOf(error))) {
    return new ProviderError('ToolMissing', `the image ${step.image} has no \`sh\`, by which steps are started`, {
      cause: error,
    });
  }
  return engineError(error, `start a container of ${step.image} for ${step.name}`);
}
