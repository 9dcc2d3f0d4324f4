import { randomBytes } from 'node:crypto';
import type { Readable } from 'node:stream';
import type Docker from 'dockerode';
import type { StageServiceSpec } from '../../definition/specs/stage.ts';
import { ProviderError } from '../../domain/failures.ts';
import { createTail } from '../../effects/tail.ts';
import { connectEngine, engineError } from '../builders/engine.ts';
import {
  type StageEngineOptions,
  cpuWeight,
  ensureImage,
  labelsOf,
  maxProcesses,
  reap,
  reapLabelled,
  remove,
  removeNetwork,
} from './engine.ts';
import { readFrames } from './frames.ts';
import type { ServiceHost, ServiceLog, ServicesRequest, StageServices } from './services-port.ts';

export interface ServiceHostOptions extends StageEngineOptions {
  /** Of the engine, as in DOCKER_HOST. */
  readonly address: string;
  /** Whose services these are, the same from one start of a worker to the next and no other worker's. */
  readonly owner: string;
}

/**
 * What the programs of public images ask for before they give up being root: to own their data folder and to become another user. Everything
 * else that a container may do as root is taken away.
 */
const capabilities = ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'SETGID', 'SETUID'];
/** Looks at a container, ms; its own check has its own pace. */
const lookEveryMs = 100;
/** What a removed service still said is read for so long, ms. The engine ends the connection at once, or never. Judgement. */
const lastWordsMs = 2_000;
const tailBytes = 4_096;
const tailLines = 10;

/** Services of stages as containers of one engine. */
export async function createServiceHost(given: ServiceHostOptions): Promise<ServiceHost> {
  const docker = await connectEngine(given.address);
  const options = { ...given, labels: { ...given.labels, 'slipway.owner': given.owner } };
  return {
    reapAbandoned: () =>
      reapLabelled(
        docker,
        { 'slipway.role': 'service', 'slipway.owner': given.owner },
        'remove the services that an earlier worker left',
      ),
    async open(request, signal) {
      await reap(docker, 'service', request.scope);
      const opened = new Opened(docker, options, request);
      try {
        await opened.open(signal);
        return opened;
      } catch (error) {
        await opened.close();
        if (signal.aborted) throw signal.reason;
        throw engineError(error, `start the services of ${request.scope.stage}`);
      }
    },
  };
}

interface Service {
  readonly spec: StageServiceSpec;
  readonly container: Docker.Container;
  readonly log: ServiceLog;
  readonly tail: () => string;
  /** Its output has been read to its end. */
  readonly ended: Promise<void>;
  /** Ends the reading of its output. */
  readonly hangUp: () => void;
  port?: number;
}

class Opened implements StageServices {
  readonly network: string;
  readonly #docker: Docker;
  readonly #options: ServiceHostOptions;
  readonly #request: ServicesRequest;
  readonly #services = new Map<string, Service>();
  /** Containers that are there, also such as never became a service. */
  readonly #containers: Docker.Container[] = [];
  #closing: Promise<void> | undefined;

  constructor(docker: Docker, options: ServiceHostOptions, request: ServicesRequest) {
    const { project, number, stage } = request.scope;
    this.#docker = docker;
    this.#options = options;
    this.#request = request;
    this.network = `slipway-stage-${project}-${number}-${stage}-${randomBytes(3).toString('hex')}`;
  }

  async open(signal: AbortSignal): Promise<void> {
    const { scope, services, internal } = this.#request;
    await this.#docker.createNetwork({
      Name: this.network,
      Driver: 'bridge',
      Internal: internal,
      Labels: { ...this.#options.labels, ...labelsOf('service', scope) },
    });
    const stop = new AbortController();
    const either = AbortSignal.any([signal, stop.signal]);
    // The first that cannot be had ends the others, and all of them have come to rest before anything is removed.
    const ended = await Promise.allSettled(
      services.map((spec) =>
        this.#start(spec, either).catch((error: unknown) => {
          stop.abort(error);
          throw error;
        }),
      ),
    );
    signal.throwIfAborted();
    if (stop.signal.aborted) throw stop.signal.reason;
    const failed = ended.find((each) => each.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  environment(executor: 'host' | 'container'): Readonly<Record<string, string>> {
    return Object.fromEntries(
      [...this.#services].flatMap(([name, { spec, port }]) => {
        const prefix = `SERVICE_${name.toUpperCase().replaceAll('-', '_')}`;
        const [host, reached] = executor === 'container' ? [name, spec.port] : ['127.0.0.1', port ?? spec.port];
        return [
          [`${prefix}_HOST`, host],
          [`${prefix}_PORT`, String(reached)],
        ];
      }),
    );
  }

  async ended(): Promise<readonly string[]> {
    const said = await Promise.all(
      [...this.#services.values()].map(async (service) => {
        const { State } = await service.container.inspect().catch(() => ({ State: undefined }));
        if (State === undefined || State.Running) return [];
        const killed = State.OOMKilled ? ', for it wanted more memory than it may have' : '';
        return [sentenceOf(service, `ended with status ${State.ExitCode}${killed}`)];
      }),
    );
    return said.flat().map((line) => `${line.slice(0, 1).toUpperCase()}${line.slice(1)}`);
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    await Promise.all(this.#containers.map((container) => remove(container).catch(() => undefined)));
    await removeNetwork(this.#docker.getNetwork(this.network)).catch(() => undefined);
    await Promise.all(
      [...this.#services.values()].map(async ({ ended, hangUp, log }) => {
        // The engine does not end the connection to a container that was removed before it was started.
        const timer = setTimeout(hangUp, lastWordsMs);
        await ended;
        clearTimeout(timer);
        await log.close();
      }),
    );
  }

  async #start(spec: StageServiceSpec, signal: AbortSignal): Promise<void> {
    const log = this.#request.openLog(spec.name);
    let service: Service;
    try {
      await ensureImage(this.#docker, this.#request.scope, spec, (line) => log.say(line), signal);
      signal.throwIfAborted();
      const container = await this.#docker.createContainer(this.#specOf(spec));
      this.#containers.push(container);
      const output = await container.attach({ stream: true, stdout: true, stderr: true });
      const tail = createTail(tailBytes);
      const ended = listen(output, log, tail.push.bind(tail));
      // It is the engine's answer; dockerode's types say less of it.
      const hangUp = (): void => void (output as unknown as Readable).destroy();
      service = { spec, container, log, tail: () => tail.text(), ended, hangUp };
      this.#services.set(spec.name, service);
    } catch (error) {
      await log.close();
      throw error;
    }
    signal.throwIfAborted();
    await service.container.start();
    const began = performance.now();
    await this.#untilReady(service, signal);
    log.say(`ready after ${((performance.now() - began) / 1000).toFixed(1)} s`);
  }

  async #untilReady(service: Service, signal: AbortSignal): Promise<void> {
    const { spec, container } = service;
    const until = performance.now() + spec.health.startupMs;
    for (;;) {
      signal.throwIfAborted();
      const { State, NetworkSettings } = await container.inspect();
      if (State.Health?.Status === 'healthy') {
        const bound = NetworkSettings.Ports[`${spec.port}/tcp`]?.[0]?.HostPort;
        if (bound !== undefined) service.port = Number(bound);
        return;
      }
      if (!State.Running) throw unready(service, `ended with status ${State.ExitCode}`);
      if (performance.now() > until) {
        const said = State.Health?.Log.at(-1)?.Output.trim() ?? '';
        const seconds = Math.round(spec.health.startupMs / 1000);
        throw unready(service, `was not ready after ${seconds} s${said === '' ? '' : `: its check said ${said}`}`);
      }
      await pause(lookEveryMs, signal);
    }
  }

  #specOf(spec: StageServiceSpec): Docker.ContainerCreateOptions {
    const { scope, publish, internal } = this.#request;
    const { cpus, memoryBytes } = spec.resources;
    const { command, intervalMs, timeoutMs } = spec.health;
    const port = `${spec.port}/tcp`;
    return {
      name: `${this.network}-${spec.name}`,
      Image: spec.image,
      ...(spec.command === undefined ? {} : { Cmd: [...spec.command] }),
      Env: Object.entries(spec.env).map(([name, value]) => `${name}=${value}`),
      AttachStdout: true,
      AttachStderr: true,
      Tty: false,
      Labels: { ...this.#options.labels, ...labelsOf('service', scope) },
      ExposedPorts: { [port]: {} },
      Healthcheck: {
        Test: ['CMD', ...command],
        Interval: Math.max(1, intervalMs) * 1e6,
        Timeout: Math.max(1, timeoutMs) * 1e6,
        // Nobody acts on its being unhealthy but us, and we go by the time.
        Retries: 1_000,
      },
      NetworkingConfig: { EndpointsConfig: { [this.network]: { Aliases: [spec.name] } } },
      HostConfig: {
        NetworkMode: this.network,
        CapDrop: ['ALL'],
        CapAdd: capabilities,
        SecurityOpt: ['no-new-privileges'],
        PidsLimit: maxProcesses,
        CpuShares: cpuWeight,
        Init: true,
        LogConfig: { Type: 'none', Config: {} },
        RestartPolicy: { Name: 'no' },
        ...(publish && !internal ? { PortBindings: { [port]: [{ HostIp: '127.0.0.1', HostPort: '0' }] } } : {}),
        ...(cpus === undefined ? {} : { NanoCpus: Math.round(cpus * 1e9) }),
        ...(memoryBytes === undefined ? {} : { Memory: memoryBytes, MemorySwap: memoryBytes }),
      },
    };
  }
}

/** Reads the output of a service until it ends, however it ends. */
async function listen(output: NodeJS.ReadableStream, log: ServiceLog, keep: (chunk: Buffer) => void): Promise<void> {
  try {
    for await (const chunk of readFrames(output)) {
      // A copy: the view is valid until the next frame only.
      const own = Buffer.from(chunk);
      keep(own);
      await log.write(own);
    }
  } catch {
    // Its connection went with the container.
  }
}

function unready(service: Service, what: string): ProviderError {
  return new ProviderError('ServiceNotReady', sentenceOf(service, what), { details: { service: service.spec.name } });
}

function sentenceOf({ spec, tail }: Service, what: string): string {
  const lines = tail().trimEnd().split('\n').slice(-tailLines).join('\n');
  const said = lines === '' ? 'It said nothing.' : `It said last:\n${lines}`;
  return `the service ${spec.name} (${spec.image}) ${what}. ${said}`;
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(done, ms);
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
    signal.addEventListener('abort', done, { once: true });
  });
}
