import { setTimeout as delay } from 'node:timers/promises';
import type { Readable } from 'node:stream';
import type Docker from 'dockerode';
import { z } from 'zod';
import { ProviderError } from '../../domain/failures.ts';
import { platformOf } from '../../domain/platform.ts';
import { followLog, readLastLines } from './container-log.ts';
import { askEngine, connectDocker, reasonOf, statusOf } from './docker-client.ts';
import {
  containerName,
  defaultStopGraceMs,
  imageReference,
  isMadeFrom,
  labelFilter,
  slotLabels,
  toCreateOptions,
  toSlotState,
} from './docker-container.ts';
import { awaitContainerHealthy } from './docker-health.ts';
import { type ReadRegistryAuth, ensureImage } from './docker-pull.ts';
import { toSlotStats } from './docker-stats.ts';
import { readPortOwner } from './port-owner.ts';
import type { SlotRef, SlotSpec, SlotState, Target } from './port.ts';

/** One Docker engine. */
export const DockerTarget = z.strictObject({
  kind: z.literal('docker'),
  address: z
    .string()
    .default('unix:///var/run/docker.sock')
    .describe('Of the engine, as in DOCKER_HOST. Default: unix:///var/run/docker.sock.'),
  network: z.string().optional().describe("Network that containers join. Default: the engine's bridge."),
  publishAddress: z
    .string()
    .default('127.0.0.1')
    .describe('Address that the ports of the slots listen on. Default: 127.0.0.1.'),
});
export type DockerTarget = z.infer<typeof DockerTarget> & {
  /** Asked at each pull, and only there. */
  readonly registryAuth?: ReadRegistryAuth;
};

const maxExecOutput = 65_536;

/** Creates the target that runs releases as containers of one engine. */
export async function createDockerTarget(options: DockerTarget): Promise<Target> {
  const docker = await connectDocker(options);
  const settings = {
    publishAddress: options.publishAddress,
    ...(options.network === undefined ? {} : { network: options.network }),
  };
  /** CPU counters of the last reading, by container: a second reading need not wait a second for a difference. */
  const readings = new Map<string, Docker.CPUStats>();

  async function find(of: {
    project: string;
    environment?: string;
    slot?: SlotRef['slot'];
  }): Promise<Docker.ContainerInspectInfo[]> {
    const listed = await askEngine('list containers', () =>
      docker.listContainers({ all: true, filters: labelFilter(of) }),
    );
    const inspected = await Promise.all(
      listed.map(({ Id }) =>
        askEngine('look at a container', () => docker.getContainer(Id).inspect()).catch((error: unknown) => {
          // Removed between the two questions.
          if (error instanceof ProviderError && error.details['status'] === 404) return undefined;
          throw error;
        }),
      ),
    );
    return inspected.filter((container) => container !== undefined);
  }

  async function requireOne(ref: SlotRef): Promise<Docker.ContainerInspectInfo> {
    const found = await find(ref);
    const [container] = found.sort((a, b) => Number(b.State.Running) - Number(a.State.Running));
    if (container !== undefined) return container;
    throw new ProviderError('ReleaseMissing', `nothing is in slot ${ref.slot} of ${ref.project}/${ref.environment}`);
  }

  async function stop(container: Docker.ContainerInspectInfo, graceMs: number, signal?: AbortSignal): Promise<void> {
    const name = container.Name.replace(/^\//, '');
    await askEngine(
      `stop ${name}`,
      () =>
        docker
          .getContainer(container.Id)
          .stop({ t: Math.ceil(graceMs / 1000), ...(signal === undefined ? {} : { abortSignal: signal }) })
          .catch((error: unknown) => {
            // 304: stopped already; 404: gone already.
            if (statusOf(error) !== 304 && statusOf(error) !== 404) throw error;
          }),
      signal,
    );
  }

  async function remove(container: { readonly Id: string }): Promise<void> {
    readings.delete(container.Id);
    const deadline = performance.now() + 5_000;
    await askEngine('remove a container', async () => {
      for (;;) {
        try {
          await docker.getContainer(container.Id).remove({ force: true, v: true });
          return;
        } catch (error) {
          if (statusOf(error) === 404) return;
          // 409: an earlier call is removing it; wait until it is gone.
          if (statusOf(error) !== 409 || performance.now() > deadline) throw error;
          await delay(50);
        }
      }
    });
  }

  async function start(id: string, spec: SlotSpec): Promise<void> {
    try {
      await docker.getContainer(id).start();
    } catch (error) {
      if (statusOf(error) === 304) return;
      const reason = reasonOf(error);
      if (!/port is already allocated|address already in use/i.test(reason)) throw error;
      await remove({ Id: id });
      const owner = await portOwner(spec.hostPort, id);
      throw new ProviderError(
        'PortTaken',
        `port ${spec.hostPort} of slot ${spec.slot} of ${spec.project}/${spec.environment} is taken${owner === undefined ? '' : ` by ${owner}`}`,
        { details: { port: spec.hostPort, ...(owner === undefined ? {} : { owner }) }, cause: error },
      );
    }
  }

  async function portOwner(port: number, except: string): Promise<string | undefined> {
    const containers = await docker.listContainers().catch(() => []);
    const holder = containers.find(
      ({ Id, Ports }) => Id !== except && Ports.some(({ PublicPort }) => PublicPort === port),
    );
    return holder === undefined ? readPortOwner(port) : `container ${holder.Names[0]?.replace(/^\//, '') ?? holder.Id}`;
  }

  async function create(spec: SlotSpec, request: Docker.ContainerCreateOptions): Promise<string> {
    const abandoned = new Set<string>();
    for (;;) {
      try {
        return (await docker.createContainer(request)).id;
      } catch (error) {
        const holder = /in use by container "?([0-9a-f]{12,64})/.exec(reasonOf(error))?.[1];
        if (statusOf(error) !== 409 || holder === undefined || abandoned.has(holder)) throw error;
        // Our own from an attempt that was cut off before, unless its labels say that it is somebody else's.
        const info = await docker
          .getContainer(holder)
          .inspect()
          .catch(() => undefined);
        if (info !== undefined && info.Config.Labels[slotLabels.slot] !== spec.slot) {
          throw new ProviderError(
            'EngineRefused',
            `the name ${containerName(spec)} belongs to a container that Slipway did not make; remove or rename it`,
            {
              details: { container: holder },
              cause: error,
              nonRetryable: true,
            },
          );
        }
        abandoned.add(holder);
        await remove({ Id: holder });
      }
    }
  }

  async function stopAll(
    ref: SlotRef,
    graceMs: number,
    signal: AbortSignal | undefined,
  ): Promise<Docker.ContainerInspectInfo[]> {
    const found = await find(ref);
    await Promise.all(found.filter(isUp).map((container) => stop(container, graceMs, signal)));
    return found;
  }

  return {
    async ensureSlot(spec, signal) {
      const request = toCreateOptions(spec, settings);
      const found = await find(spec);
      const same = found.find((container) => isMadeFrom(container, request));
      if (same !== undefined && isUp(same) && found.length === 1) {
        return { changed: false, name: containerName(spec), id: same.Id };
      }
      return askEngine(
        `start ${containerName(spec)}`,
        async () => {
          // First, so that nothing is stopped for an image that cannot be had.
          await ensureImage(docker, imageReference(spec), options.registryAuth, signal);
          for (const other of found.filter((container) => container !== same)) {
            if (isUp(other)) await stop(other, spec.stopGraceMs ?? defaultStopGraceMs, signal);
            await remove(other);
          }
          const id = same?.Id ?? (await create(spec, request));
          await start(id, spec);
          return { changed: true, name: containerName(spec), id };
        },
        signal,
      );
    },

    async readPlatform(signal) {
      const { Os, Arch } = await askEngine('ask the engine for its platform', () => docker.version(), signal);
      return platformOf(Os, Arch);
    },

    async awaitHealthy(ref, ready) {
      const container = await requireOne(ref);
      const port = container.Config.Labels[slotLabels.port] ?? '0';
      return awaitContainerHealthy(docker, container.Id, `${options.publishAddress}:${port}`, ready);
    },

    async ensureSlotStopped(ref, { graceMs, signal }) {
      await stopAll(ref, graceMs, signal);
    },

    async ensureSlotRemoved(ref, { graceMs, signal }) {
      for (const container of await stopAll(ref, graceMs, signal)) await remove(container);
    },

    async readSlots(of) {
      const states = (await find(of)).map(toSlotState).filter((state) => state !== undefined);
      return states.sort((a, b) => orderOf(a).localeCompare(orderOf(b)));
    },

    async readStats(ref, signal) {
      const container = await requireOne(ref);
      const abort = signal === undefined ? {} : { abortSignal: signal };
      const read = (oneShot: boolean): Promise<Docker.ContainerStats> =>
        docker.getContainer(container.Id).stats({ stream: false, 'one-shot': oneShot, ...abort });
      return askEngine(
        'read the load of a container',
        async () => {
          const before = readings.get(container.Id);
          const present = await read(before !== undefined);
          if (!container.State.Running) {
            throw new ProviderError('ReleaseMissing', `${container.Name.replace(/^\//, '')} does not run`);
          }
          readings.set(container.Id, present.cpu_stats);
          const { NanoCpus, Memory } = container.HostConfig;
          return toSlotStats(present, before ?? present.precpu_stats, {
            cpus: (NanoCpus ?? 0) / 1e9,
            memoryBytes: Memory ?? 0,
          });
        },
        signal,
      );
    },

    tailLogs(ref, since, signal, onPresent) {
      return followLog(docker, async () => (await requireOne(ref)).Id, since, signal, onPresent);
    },

    async readLastLines(ref, most, signal) {
      const [container] = await find(ref);
      if (container === undefined) return [];
      return await askEngine(
        'read the log of a container',
        () => readLastLines(docker, container.Id, most, signal),
        signal,
      );
    },

    async exec(ref, command, { timeoutMs, env, signal }) {
      const container = await requireOne(ref);
      if (!container.State.Running)
        throw new ProviderError('ReleaseMissing', `${container.Name.replace(/^\//, '')} does not run`);
      const timeout = AbortSignal.timeout(timeoutMs);
      const either = signal === undefined ? timeout : AbortSignal.any([signal, timeout]);
      return askEngine(
        `run ${command[0]} in ${container.Name.replace(/^\//, '')}`,
        async () => {
          try {
            return await runInside(docker, container.Id, command, env ?? {}, either);
          } catch (error) {
            if (!timeout.aborted || signal?.aborted === true) throw error;
            throw new ProviderError('TimedOut', `${command.join(' ')} did not end within ${timeoutMs} ms`, {
              cause: error,
            });
          }
        },
        signal,
      );
    },
  };
}

async function runInside(
  docker: Docker,
  id: string,
  command: readonly string[],
  env: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<{ exitCode: number; stdout: string; stderr: string }> {
  const exec = await docker.getContainer(id).exec({
    Cmd: [...command],
    Env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
    AttachStdout: true,
    AttachStderr: true,
    abortSignal: signal,
  });
  const stream = (await exec.start({ abortSignal: signal })) as unknown as Readable;
  signal.addEventListener('abort', () => stream.destroy(signal.reason as Error), { once: true });
  const output = { stdout: '', stderr: '' };
  const { PassThrough } = await import('node:stream');
  const sinks = { stdout: new PassThrough(), stderr: new PassThrough() };
  for (const name of ['stdout', 'stderr'] as const) {
    sinks[name].on('data', (chunk: Buffer) => {
      if (output[name].length < maxExecOutput) output[name] += chunk.toString('utf8');
    });
  }
  docker.modem.demuxStream(stream, sinks.stdout, sinks.stderr);
  await new Promise<void>((resolve, reject) => stream.once('end', resolve).once('error', reject));
  const { ExitCode } = await exec.inspect({ abortSignal: signal });
  return { exitCode: ExitCode ?? -1, ...output };
}

function isUp({ State }: Docker.ContainerInspectInfo): boolean {
  return State.Running || State.Restarting || State.Paused;
}

function orderOf(state: SlotState): string {
  return `${state.environment}/${state.slot}/${state.name}`;
}
