import { ProviderError } from '../domain/failures.ts';
import type { PlanPolicy } from '../domain/plan.ts';
import type { WatchPolicy } from '../domain/policy.ts';
import type { DefinitionPair } from './pair.ts';
import { resolveRegistry, resolveScan } from './image-resolution.ts';
import { floorProbes, stricterProbe } from './probe-floors.ts';
import { isProduction } from './production.ts';
import type { EnvironmentDefinition, ProjectDefinition } from './project.ts';
import type { RepositoryDefinition } from './repository.ts';
import type { DatabaseSpec, EnvironmentSpec, MigrationsSpec, ServiceSpec, TargetSpec } from './specs/environment.ts';
import type { InfrastructureSpec } from './specs/infrastructure.ts';
import type { NotifierSpec } from './specs/notifier.ts';
import type { ProbeSpec } from './specs/probe.ts';
import type { ResourceLimits } from './specs/stage.ts';
import type { ImageTrustSpec } from './specs/supply-chain.ts';

const minuteMs = 60_000;

/**
 * What the two documents make of one environment: the project's word, made stricter by the repository's, never looser.
 *
 * @throws `NotFound`: the project has no such environment.
 * @throws `DefinitionInvalid`: the repository has no `service`, so nothing of it can be deployed.
 */
export function resolveEnvironment(pair: DefinitionPair, name: string): EnvironmentSpec {
  const { repository, project } = pair;
  const environment = Object.hasOwn(project.environments, name) ? project.environments[name] : undefined;
  if (environment === undefined) {
    const known = Object.keys(project.environments);
    throw new ProviderError(
      'NotFound',
      `Project ${project.project} has no environment ${name}; it has ${known.length === 0 ? 'none' : known.join(', ')}.`,
    );
  }
  if (repository.service === undefined) {
    throw new ProviderError(
      'DefinitionInvalid',
      `${project.repository.definition} has no \`service\`, so there is nothing to deploy to ${name}.`,
    );
  }
  const policy = resolvePolicy(pair, name, environment);
  const migrations = resolveMigrations(repository, policy);
  return {
    project: project.project,
    name,
    target: resolveTarget(project.project, name, environment),
    router: environment.router,
    ...(environment.database === undefined ? {} : { database: resolveDatabase(environment.database) }),
    ...resolveInfrastructure(repository, environment),
    strategy: environment.strategy,
    policy,
    service: resolveService(repository.service, policy),
    probes: resolveProbes(repository, project, repository.service),
    ...(migrations === undefined ? {} : { migrations }),
    secrets: environment.secrets,
    registry: resolveRegistry(pair),
    imageTrust: resolveImageTrust(project, environment),
    notifications: resolveNotifications(project),
  };
}

/** Only where both have it: a commit of before there was any has none to apply. */
function resolveInfrastructure(
  { infrastructure: what }: RepositoryDefinition,
  { infrastructure: how }: EnvironmentDefinition,
): { readonly infrastructure?: InfrastructureSpec } {
  if (what === undefined || how === undefined) return {};
  const { folder } = what;
  const { secretVariables, env, secrets, planKey, lockTimeout, timeout } = how;
  return {
    infrastructure: {
      tool:
        how.kind === 'exec'
          ? {
              ...{ kind: how.kind, plan: how.plan, apply: how.apply, state: how.state },
              ...(how.discard === undefined ? {} : { discard: how.discard }),
            }
          : { kind: how.kind, backend: how.backend },
      folder,
      variables: { ...what.variables, ...how.variables },
      ...{ secretVariables, env, secrets, planKey },
      lockTimeoutMs: lockTimeout,
      timeoutMs: timeout,
    },
  };
}

/** What an image must be known to be before it runs in an environment. */
function resolveImageTrust(project: ProjectDefinition, environment: EnvironmentDefinition): ImageTrustSpec {
  const { images } = project;
  const own = environment.images;
  const scans = resolveScan(project);
  return {
    ...(scans === undefined ? {} : { scans }),
    signs: images.signing !== undefined,
    scan: images.scan === undefined ? 'off' : (own.scan ?? images.scan.mode),
    requireSignature: own.requireSignature ?? images.requireSignature,
    requireAttestation: (own.attestation ?? images.attestation) === 'required',
    keys: images.trust,
    builder: images.builder,
  };
}

/** The policy of one environment, with the repository's stricter figures. */
export function resolvePolicy(pair: DefinitionPair, name: string, environment: EnvironmentDefinition): PlanPolicy {
  const { repository } = pair;
  const { approval, queue, backup, rollback, limits } = environment;
  const production = isProduction(name, environment);
  return {
    production,
    approval: {
      required: approval.required ?? production,
      rules: approval.rules,
      allowAuthor: approval.allowAuthor,
      ...(approval.requireProof ? { requireProof: true } : {}),
      timeoutMs: approval.timeout,
      turn: approval.turn,
    },
    queue: { mode: queue.mode, timeoutMs: queue.timeout },
    watch: resolveWatch(repository, environment, defaultWatchMs(name, production)),
    backup: {
      database: backup.database ?? environment.database !== undefined,
      configuration: backup.configuration,
      prove: backup.prove,
    },
    rollback: { automatic: rollback.automatic, restore: rollback.restore },
    limits: {
      readyMs: limits.ready,
      settleMs: limits.settle,
      stopGraceMs: Math.min(repository.service?.stopGrace ?? limits.stopGrace, limits.stopGrace),
      drainMs: limits.drain,
      keepPreviousMs: limits.keepPrevious,
    },
    migrationPhase: environment.migrations.phase ?? repository.migrations?.phase ?? 'before-switch',
  };
}

function defaultWatchMs(name: string, production: boolean): number {
  if (production) return 30 * minuteMs;
  return name === 'staging' ? 2 * minuteMs : 0;
}

function resolveWatch(
  { watch: stricter }: RepositoryDefinition,
  { watch: floor }: EnvironmentDefinition,
  defaultDurationMs: number,
): WatchPolicy {
  const lower = (own: number | undefined, limit: number): number => Math.min(own ?? limit, limit);
  return {
    durationMs: Math.max(floor.duration ?? defaultDurationMs, stricter.duration ?? 0),
    intervalMs: floor.interval,
    warn: {
      cpuRatio: lower(stricter.warn.cpu, floor.warn.cpu),
      memoryRatio: lower(stricter.warn.memory, floor.warn.memory),
      p95Ms: lower(stricter.warn.p95, floor.warn.p95),
      errorRatio: lower(stricter.warn.errors, floor.warn.errors),
    },
    rollback: {
      errorRatio: lower(stricter.rollback.errors, floor.rollback.errors),
      errorWindowMs: floor.rollback.errorWindow,
      p95Ms: lower(stricter.rollback.p95, floor.rollback.p95),
      p95SustainedMs: floor.rollback.p95Sustained,
      databaseFailures: lower(stricter.rollback.databaseFailures, floor.rollback.databaseFailures),
      logMatches: floor.rollback.logMatches,
    },
    logPatterns: [...new Set([...floor.logPatterns, ...stricter.logPatterns])],
    minSamples: floor.minSamples,
    onInconclusive: floor.onInconclusive,
  };
}

/** Where releases of an environment run; the project's word alone. */
export function resolveTarget(project: string, name: string, { target }: EnvironmentDefinition): TargetSpec {
  return {
    kind: target.kind,
    name: targetName(project, name, target),
    publishAddress: target.publishAddress,
    ...(target.socket === undefined ? {} : { socket: target.socket }),
    ...(target.network === undefined ? {} : { network: target.network }),
  };
}

/** Name of a target, given or made of the project and environment. */
export function targetName(project: string, environment: string, target: { readonly name?: string }): string {
  return target.name ?? `${project}-${environment}`;
}

function resolveDatabase(database: NonNullable<EnvironmentDefinition['database']>): DatabaseSpec {
  return {
    kind: database.kind,
    url: database.url,
    lockTimeoutMs: database.lockTimeout,
    statementTimeoutMs: database.statementTimeout,
    ...(database.clientBin === undefined ? {} : { clientBin: database.clientBin }),
  };
}

function resolveService(service: NonNullable<RepositoryDefinition['service']>, policy: PlanPolicy): ServiceSpec {
  const { health, resources } = service;
  const limits: ResourceLimits = {
    ...(resources.cpus === undefined ? {} : { cpus: resources.cpus }),
    ...(resources.memory === undefined ? {} : { memoryBytes: resources.memory }),
  };
  return {
    image: service.image,
    port: service.port,
    ...(service.command === undefined ? {} : { command: service.command }),
    env: service.env,
    health: {
      path: health.path,
      ...(health.command === undefined ? {} : { command: health.command }),
      intervalMs: health.interval,
      timeoutMs: health.timeout,
      retries: health.retries,
    },
    resources: limits,
    stopGraceMs: policy.limits.stopGraceMs,
  };
}

type ProbeDefinition = RepositoryDefinition['probes'][number];

/** Those that every release has first, then the project's, then the repository's. */
function resolveProbes(
  repository: RepositoryDefinition,
  project: ProjectDefinition,
  service: NonNullable<RepositoryDefinition['service']>,
): readonly ProbeSpec[] {
  const fixed = project.probes.map(resolveProbe);
  const own = repository.probes.map(resolveProbe);
  const named = (probes: readonly ProbeSpec[], name: string): ProbeSpec | undefined =>
    probes.find((probe) => probe.name === name);
  const floors = floorProbes(service.health.path)
    // The project's word is the last one, also where it is milder; the repository cannot put another in the place of it.
    .filter(({ name }) => named(fixed, name) === undefined)
    .map((floor) => stricterProbe(floor, named(own, floor.name) ?? floor));
  const taken = [...floors, ...fixed];
  return [...taken, ...own.filter(({ name }) => named(taken, name) === undefined)];
}

function resolveProbe(probe: ProbeDefinition): ProbeSpec {
  const base = { name: probe.name, retries: probe.retries, intervalMs: probe.interval, timeoutMs: probe.timeout };
  switch (probe.kind) {
    case 'http':
      return {
        ...base,
        kind: 'http',
        through: probe.through,
        method: probe.method,
        path: probe.path,
        expectStatus: probe.expectStatus,
        ...(probe.expectBody === undefined ? {} : { expectBody: probe.expectBody }),
        ...(probe.versionField === undefined ? {} : { versionField: probe.versionField }),
      };
    case 'tcp':
      return { ...base, kind: 'tcp', through: probe.through };
    case 'container':
      return { ...base, kind: 'container', through: 'both' };
  }
}

function resolveMigrations({ migrations }: RepositoryDefinition, policy: PlanPolicy): MigrationsSpec | undefined {
  if (migrations === undefined) return undefined;
  return { runner: 'sql', folder: migrations.folder, phase: policy.migrationPhase };
}

/** Where notices of the project go; each with a name. */
export function resolveNotifications(project: ProjectDefinition): readonly NotifierSpec[] {
  return project.notifications.map((notifier) => {
    const base = {
      name: notifier.name ?? notifier.kind,
      level: notifier.level,
      events: notifier.events,
      environments: notifier.environments,
    };
    return notifier.kind === 'slack' ? { ...base, kind: 'slack', url: notifier.url } : { ...base, kind: 'log' };
  });
}
