import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type Docker from 'dockerode';
import type { FailureType } from '../domain/failure-kinds.ts';
import { ProviderError } from '../domain/failures.ts';
import { type LocalContext, announce, installationId } from './context.ts';
import type { ComponentHandle, Ports } from './daemons.ts';
import { type DockerHandle, connectDocker, installationLabel, removeContainer } from './docker.ts';
import { choosePort } from './ports.ts';
import { lastLines } from './programs.ts';
import { reasonOf } from './reason.ts';
import { type ComponentState, readState, withLock, writeState } from './state.ts';

/** One component of the installation that is a container. */
export interface ContainerSpec {
  readonly name: string;
  readonly owner: 'slipway' | 'target';
  /** The ports it listens on, by purpose as in `ports.ts`; it has the network of the machine. */
  readonly ports: readonly string[];
  /** Called only where there is no container yet: image, command, user and mounts. */
  readonly create: (ports: Ports) => Promise<Docker.ContainerCreateOptions>;
  /** Resolves with its version once it answers; rejects as long as it does not. */
  readonly answers: (ports: Ports) => Promise<string>;
  /** What it is called when it does not come up. */
  readonly failure: FailureType;
  /** Default 20,000. */
  readonly readyTimeoutMs?: number;
}

/** A container that answers. */
export interface RunningContainer {
  readonly how: 'found' | 'started';
  readonly state: ComponentState & { readonly container: { readonly engine: string; readonly name: string } };
}

const roleLabel = 'slipway.role';

/**
 * Finds the container of a component, starts it where it is stopped, makes it where there is none, and waits for its
 * first answer. Docker brings it back after a crash of its own or of the machine.
 *
 * @throws ProviderError of the type in the spec - it does not come up; the last lines of its log are in the message.
 */
export async function findOrStartContainer(
  context: LocalContext,
  docker: DockerHandle,
  spec: ContainerSpec,
): Promise<RunningContainer> {
  const engine = connectDocker(docker.address);
  return await withLock(join(context.stateFolder, 'run', `${spec.name}.lock`), async () => {
    const found = await find(engine, context, spec);
    const { id, name, ports } = found ?? (await make(engine, context, spec));
    const { how, version } = await bringUp(context, engine.getContainer(id), name, ports, spec);
    const state = {
      name: spec.name,
      owner: spec.owner,
      container: { engine: docker.address, name },
      ports,
      version,
      command: `docker start ${name}`,
      logFile: `docker logs ${name}`,
      stopSignal: 'SIGTERM',
      stopGraceMs: 0,
      startedAt: new Date().toISOString(),
    } as const;
    writeState(context, state);
    return { how, state };
  });
}

/** The parts of a handle that are the same for every container. */
export function containerHandle(context: LocalContext, running: RunningContainer, address: string): ComponentHandle {
  return {
    name: running.state.name,
    how: running.how,
    version: running.state.version,
    address,
    logFile: running.state.logFile,
    stop: async () => {
      await removeContainer(context, running.state);
    },
  };
}

interface Place {
  readonly id: string;
  readonly name: string;
  readonly ports: Ports;
}

async function find(engine: Docker, context: LocalContext, spec: ContainerSpec): Promise<Place | undefined> {
  const label = [`${installationLabel}=${installationId(context)}`, `${roleLabel}=${spec.name}`];
  const [found] = await engine.listContainers({ all: true, filters: { label } });
  if (found === undefined) return undefined;
  const name = (found.Names[0] ?? '').replace(/^\//, '');
  return { id: found.Id, name, ports: readState(context, spec.name)?.ports ?? {} };
}

async function make(engine: Docker, context: LocalContext, spec: ContainerSpec): Promise<Place> {
  const ports: Record<string, number> = {};
  for (const purpose of spec.ports) ports[purpose] = await choosePort(context, spec.name, purpose);
  const options = await spec.create(ports);
  const wanted = `slipway-${spec.name}`;
  const taken = await engine.listContainers({ all: true, filters: { name: [`^/${wanted}$`] } });
  const name = taken.length === 0 ? wanted : `${wanted}-${installationId(context)}`;
  const { id } = await engine.createContainer({
    ...options,
    name,
    Labels: { [installationLabel]: installationId(context), [roleLabel]: spec.name },
    HostConfig: {
      NetworkMode: 'host',
      // Not `unless-stopped`: a signal sent by hand would count as a stop for ever.
      RestartPolicy: { Name: 'always' },
      LogConfig: { Type: 'json-file', Config: { 'max-size': '50m', 'max-file': '3' } },
      ...options.HostConfig,
    },
  });
  return { id, name, ports };
}

async function bringUp(
  context: LocalContext,
  container: Docker.Container,
  name: string,
  ports: Ports,
  spec: ContainerSpec,
): Promise<{ how: 'found' | 'started'; version: string }> {
  const { State } = await container.inspect();
  // After several failures the engine waits up to a minute before its next try; we do not.
  if (State.Restarting) await container.restart({ t: 0 });
  else if (!State.Running) await container.start();
  const how = State.Running && !State.Restarting ? 'found' : 'started';
  const message = how === 'found' ? `asking container ${name}` : `starting container ${name}`;
  const version = await announce(context, spec.name, message, async () => {
    const deadline = performance.now() + (spec.readyTimeoutMs ?? 20_000);
    for (;;) {
      try {
        return await spec.answers(ports);
      } catch (error) {
        const now = (await container.inspect()).State;
        if (now.Restarting && now.ExitCode !== 0) throw await notUp(container, name, spec, 'it ends at once');
        if (performance.now() >= deadline) throw await notUp(container, name, spec, reasonOf(error));
      }
      await delay(50);
    }
  });
  return { how, version };
}

async function notUp(
  container: Docker.Container,
  name: string,
  spec: ContainerSpec,
  why: string,
): Promise<ProviderError> {
  const log = await container.logs({ stdout: true, stderr: true, tail: 8 });
  // Each line begins with eight bytes that say which stream it is from.
  const text = log.toString('utf8').replace(/^[\u0000-\u0002][\s\S]{7}/gm, '');
  return new ProviderError(
    spec.failure,
    `${spec.name} (container ${name}) does not answer: ${why}. Its log ends with: ${lastLines(text, 8)}`,
  );
}
