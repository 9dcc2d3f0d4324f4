import { createHash } from 'node:crypto';
import type Docker from 'dockerode';
import type { ReleaseRef, Slot } from '../../domain/release.ts';
import type { SlotRef, SlotSpec, SlotState } from './port.ts';

/** Labels that a slot's container carries; with them alone an environment can be rebuilt. */
export const slotLabels = {
  project: 'slipway.project',
  environment: 'slipway.environment',
  slot: 'slipway.slot',
  version: 'slipway.version',
  /** The whole {@link ReleaseRef}, as JSON. */
  release: 'slipway.release',
  deployment: 'slipway.deployment',
  port: 'slipway.port',
  /** Hash of everything it was made with but the secrets. */
  config: 'slipway.config',
} as const;

/** Default of {@link SlotSpec.stopGraceMs}. */
export const defaultStopGraceMs = 30_000;

/** What is the same for all containers of a target. */
export interface ContainerSettings {
  readonly network?: string;
  readonly publishAddress: string;
}

/** Name of a slot's container: what a person sees in `docker ps`. */
export function containerName(spec: Pick<SlotSpec, 'project' | 'environment' | 'slot' | 'release'>): string {
  return [spec.project, spec.environment, spec.slot, spec.release.version]
    .map((part) => part.replace(/[^a-zA-Z0-9_.-]/g, '_'))
    .join('-');
}

/** Name by which the image is pulled and run. */
export function imageReference(spec: Pick<SlotSpec, 'image'>): string {
  return `${spec.image.repository}@${spec.image.digest}`;
}

/** Makes the engine's request from a specification. */
export function toCreateOptions(spec: SlotSpec, settings: ContainerSettings): Docker.ContainerCreateOptions {
  const port = `${spec.containerPort}/tcp`;
  const { cpus, memoryBytes } = spec.resources;
  const options: Docker.ContainerCreateOptions = {
    name: containerName(spec),
    Image: imageReference(spec),
    ...(spec.command === undefined ? {} : { Cmd: [...spec.command] }),
    Env: Object.entries(toEnv(spec)).map(([name, value]) => `${name}=${value}`),
    ExposedPorts: { [port]: {} },
    StopTimeout: Math.ceil((spec.stopGraceMs ?? defaultStopGraceMs) / 1000),
    ...(spec.health === undefined
      ? {}
      : {
          Healthcheck: {
            Test: ['CMD', ...spec.health.command],
            Interval: spec.health.intervalMs * 1e6,
            Timeout: spec.health.timeoutMs * 1e6,
            Retries: spec.health.retries,
            StartPeriod: (spec.health.startPeriodMs ?? 0) * 1e6,
          },
        }),
    HostConfig: {
      PortBindings: { [port]: [{ HostIp: settings.publishAddress, HostPort: String(spec.hostPort) }] },
      RestartPolicy: { Name: 'unless-stopped' },
      ...(settings.network === undefined ? {} : { NetworkMode: settings.network }),
      ...(spec.extraHosts === undefined ? {} : { ExtraHosts: [...spec.extraHosts] }),
      ...(cpus === undefined ? {} : { NanoCpus: Math.round(cpus * 1e9) }),
      // Swap counts as memory: a release over its limit is ended, not slowed down unseen.
      ...(memoryBytes === undefined ? {} : { Memory: memoryBytes, MemorySwap: memoryBytes }),
      SecurityOpt: ['no-new-privileges'],
      LogConfig: { Type: 'json-file', Config: { 'max-size': '50m', 'max-file': '3' } },
    },
  };
  const labels = {
    ...spec.labels,
    [slotLabels.project]: spec.project,
    [slotLabels.environment]: spec.environment,
    [slotLabels.slot]: spec.slot,
    [slotLabels.version]: spec.release.version,
    [slotLabels.release]: JSON.stringify(spec.release),
    [slotLabels.port]: String(spec.hostPort),
  };
  // Without the deployment: the same release rolled out again by another one goes on running.
  const config = hashOf([{ ...options, Env: toPublicEnv(spec) }, labels]);
  return {
    ...options,
    Labels: { ...labels, [slotLabels.deployment]: String(spec.deployment), [slotLabels.config]: config },
  };
}

/** Whether a container was made from exactly this specification. Secrets are compared here, for a hash of them on a label could be guessed. */
export function isMadeFrom(container: Docker.ContainerInspectInfo, options: Docker.ContainerCreateOptions): boolean {
  if (container.Config.Labels[slotLabels.config] !== options.Labels?.[slotLabels.config]) return false;
  const present = new Set(container.Config.Env);
  // The image's own variables are there as well, so a variable that was taken away is only seen by the hash of the names.
  return (options.Env ?? []).every((entry) => present.has(entry));
}

/** Reads a slot back from its container. */
export function toSlotState(container: Docker.ContainerInspectInfo): SlotState | undefined {
  const labels = container.Config.Labels;
  const ref = readRef(labels);
  const release = readRelease(labels[slotLabels.release]);
  if (ref === undefined || release === undefined) return undefined;
  const { State } = container;
  const health = State.Health?.Status;
  return {
    ...ref,
    release,
    image: container.Config.Image,
    deployment: Number(labels[slotLabels.deployment] ?? 0),
    name: container.Name.replace(/^\//, ''),
    id: container.Id,
    state: readState(State.Status),
    health: health === 'healthy' || health === 'unhealthy' || health === 'starting' ? health : 'none',
    hostPort: Number(labels[slotLabels.port] ?? 0),
    ...(State.StartedAt.startsWith('0001') ? {} : { startedAt: State.StartedAt }),
    restarts: container.RestartCount,
    ...(State.Running ? {} : { exitCode: State.ExitCode }),
  };
}

/** Filter for the containers of a project, an environment or one slot. */
export function labelFilter(of: { project: string; environment?: string; slot?: Slot }): { label: string[] } {
  return {
    label: [
      `${slotLabels.project}=${of.project}`,
      ...(of.environment === undefined ? [] : [`${slotLabels.environment}=${of.environment}`]),
      // Steps and other helpers may carry the project's label too; only slots have this one.
      of.slot === undefined ? slotLabels.slot : `${slotLabels.slot}=${of.slot}`,
    ],
  };
}

function toPublicEnv(spec: SlotSpec): Record<string, string> {
  // The names of the secrets, not their values: taking one away must make a new container.
  return { ...spec.env, ...Object.fromEntries(Object.keys(spec.secretEnv).map((name) => [name, ''])) };
}

function toEnv(spec: SlotSpec): Record<string, string> {
  return {
    SLIPWAY_PROJECT: spec.project,
    SLIPWAY_ENVIRONMENT: spec.environment,
    SLIPWAY_SLOT: spec.slot,
    SLIPWAY_VERSION: spec.release.version,
    SLIPWAY_COMMIT: spec.release.commit,
    ...spec.env,
    ...spec.secretEnv,
  };
}

function readRef(labels: Readonly<Record<string, string>>): SlotRef | undefined {
  const [project, environment, slot] = [
    labels[slotLabels.project],
    labels[slotLabels.environment],
    labels[slotLabels.slot],
  ];
  if (project === undefined || environment === undefined || (slot !== 'blue' && slot !== 'green')) return undefined;
  return { project, environment, slot };
}

function readRelease(text: string | undefined): ReleaseRef | undefined {
  try {
    const release = JSON.parse(text ?? '') as Partial<ReleaseRef>;
    return typeof release.version === 'string' && Array.isArray(release.images) ? (release as ReleaseRef) : undefined;
  } catch {
    return undefined;
  }
}

function readState(status: string): SlotState['state'] {
  switch (status) {
    case 'created':
    case 'running':
    case 'restarting':
    case 'paused':
      return status;
    default:
      return 'exited';
  }
}

function hashOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 16);
}
