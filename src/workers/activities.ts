import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import type { Logger } from 'pino';
import { createAbandonedActivities } from '../activities/abandoned.ts';
import { createStageArtifacts } from '../activities/artifacts.ts';
import { createAuditReportActivities } from '../activities/audit-reports.ts';
import { createBaseUpdateActivities } from '../activities/base-updates.ts';
import { createStageCaches } from '../activities/caches.ts';
import type {
  Activities,
  AuditReportActivities,
  BaseUpdateActivities,
  DependencyUpdateActivities,
  DiskActivities,
  LiveScanActivities,
  RegistryRetentionActivities,
  RoundActivities,
  UpkeepActivities,
} from '../activities/contracts.ts';
import { createDataActivities } from '../activities/data.ts';
import { createDatabases } from '../activities/databases.ts';
import { createDependencyUpdateActivities } from '../activities/dependency-updates.ts';
import { createDeploymentLogs } from '../activities/deployment-logs.ts';
import { backupsOf, createDiskActivities } from '../activities/disks.ts';
import { createFactActivities } from '../activities/facts.ts';
import { createFindingActivities } from '../activities/findings-told.ts';
import { createForgeActivities, openForgeApi } from '../activities/forges.ts';
import { createAlone } from '../activities/image-alone.ts';
import { createImageTrust } from '../activities/image-trust.ts';
import { createImageActivities } from '../activities/images.ts';
import { createInfrastructureRecords } from '../activities/infrastructure-records.ts';
import { createInfrastructureLeftovers } from '../activities/infrastructure-leftovers.ts';
import { createInfrastructureActivities, createInfrastructures } from '../activities/infrastructure.ts';
import { createLiveScanActivities } from '../activities/live-scans.ts';
import { createMaterials } from '../activities/material.ts';
import { createNoticeActivities, inPassing } from '../activities/notices.ts';
import { createPackageActivities } from '../activities/packages.ts';
import { createPipelines } from '../activities/pipelines.ts';
import { createPlaces } from '../activities/places.ts';
import { createPlanActivities } from '../activities/plan.ts';
import { createPollActivities } from '../activities/polls.ts';
import { createProofActivities } from '../activities/proofs.ts';
import { createProtections } from '../activities/protections.ts';
import { createRecoveryMemory } from '../activities/recovery-temporal.ts';
import { createRecoveryActivities } from '../activities/recovery.ts';
import { createRegistryRetentionActivities } from '../activities/registry-retention.ts';
import { createReleaseActivities } from '../activities/release.ts';
import { createRoundActivities } from '../activities/rounds.ts';
import { createRunFactActivities } from '../activities/run-facts.ts';
import { createRunStartActivities } from '../activities/run-starts.ts';
import { createFreeTurn, createRunTurnActivities } from '../activities/run-turns.ts';
import { createScheduledRunActivities } from '../activities/scheduled-runs.ts';
import { createSourceActivities } from '../activities/source.ts';
import { createStageActivities } from '../activities/stage.ts';
import { taking } from '../activities/told.ts';
import { createToolCheck } from '../activities/tools.ts';
import { createTrafficActivities } from '../activities/traffic.ts';
import { createTurnActivities } from '../activities/turn.ts';
import { createUpkeepActivities } from '../activities/upkeep.ts';
import { createWatchActivities } from '../activities/watch.ts';
import type { Config } from '../config.ts';
import { environmentFiles, readConfiguration } from '../definition/configuration.ts';
import type { ProjectDefinition } from '../definition/project.ts';
import type { InfrastructureSpec } from '../definition/specs/infrastructure.ts';
import type { SecretRef, SecretRefs } from '../definition/specs/secret.ts';
import type { DecisionProofs } from '../effects/decision-proofs.ts';
import type { Fence } from '../effects/fence.ts';
import type { LogFiles } from '../effects/log-files.ts';
import { readMachine } from '../effects/machine.ts';
import { createBlobs } from '../providers/blobs/index.ts';
import { createBuildKitBuilder } from '../providers/builders/buildkit.ts';
import { createDockerBuilder } from '../providers/builders/docker.ts';
import { createContainerExecutor } from '../providers/executors/container.ts';
import { createHostExecutor } from '../providers/executors/host.ts';
import { createServiceHost } from '../providers/executors/services.ts';
import { createInfrastructure } from '../providers/infrastructures/index.ts';
import { manifestKinds } from '../providers/manifests/index.ts';
import { createHaproxyRequestLog } from '../providers/metrics/haproxy-log.ts';
import { packageIndexes } from '../providers/package-indexes/index.ts';
import { packageUploads } from '../providers/package-uploads/index.ts';
import { createForeignRegistry } from '../providers/registries/foreign.ts';
import { createRegistryReader } from '../providers/registries/logins/index.ts';
import { createOciRegistry } from '../providers/registries/oci.ts';
import { createDockerPusher } from '../providers/registries/pusher.ts';
import { createGitBranches } from '../providers/repositories/git-branches.ts';
import { createGitRepository } from '../providers/repositories/git.ts';
import type { Secrets } from '../providers/secrets/port.ts';
import { connectDocker } from '../providers/targets/docker-client.ts';
import { readKeptBuilds } from '../store/retention.ts';
import { readImageEvidence } from '../store/runs.ts';
import type { Store } from '../store/store.ts';
import {
  type FactSpool,
  createBaselines,
  createDefinitions,
  createKnownBuilds,
  createKnownLists,
  createLogs,
  createOnceSteps,
  createRegistryClaims,
  createRunStore,
  createStageFacts,
  recordProofTo,
  recordSampleTo,
} from './facts.ts';
import { findInfrastructureProgram } from './infrastructure.ts';
import {
  createCacheIndex,
  createKeptFileRecords,
  recordArtifactsTo,
  recordCacheUsesTo,
  recordPackagesTo,
} from './kept-files.ts';
import {
  createDaemonOpener,
  createEngineOpener,
  createRouterOpener,
  createTargetOpener,
  openDatabase,
} from './openers.ts';
import { createSupplyChain, createToolFinder, createToolLook } from './supply-chain.ts';

/** What a worker has opened before its activities. */
export interface WorkerParts {
  readonly config: Config;
  readonly logger: Logger;
  readonly store: Store;
  readonly spool: FactSpool;
  readonly fence: Fence;
  readonly secrets: Secrets;
  readonly proofs: DecisionProofs;
  readonly temporal: Client;
  readonly files: LogFiles;
  readonly workspaceQueue: string;
  /** Task queue that only this machine takes work from. */
  readonly machineQueue: string;
}

/** Activities by the queue that they are taken from. */
export interface ComposedActivities {
  readonly orchestration: Partial<
    Activities & UpkeepActivities & RoundActivities & LiveScanActivities & AuditReportActivities
  >;
  readonly build: Partial<
    Activities & UpkeepActivities & LiveScanActivities & BaseUpdateActivities & DependencyUpdateActivities
  >;
  readonly deploy: Partial<Activities & UpkeepActivities & RegistryRetentionActivities>;
  readonly notify: Partial<Activities>;
  readonly machine: DiskActivities;
  /** Sends again what some channel has not taken; called again and again. */
  resendNotices(): Promise<number>;
  /** Ends what activities keep between two calls. */
  close(): Promise<void>;
}

/** Puts the hands of every activity together: the one place that knows all kinds of everything. */
export async function composeActivities(parts: WorkerParts): Promise<ComposedActivities> {
  const { config, logger, store, spool, fence, secrets } = parts;
  const warn =
    (what: string) =>
    (error: unknown): void =>
      logger.warn({ err: error }, what);
  const readSecret = async (ref: SecretRef): Promise<string> => (await secrets.read(ref)).reveal();
  const readSecrets = async (refs: SecretRefs): Promise<Readonly<Record<string, string>>> =>
    Object.fromEntries(Object.entries(await secrets.readAll(refs)).map(([name, secret]) => [name, secret.reveal()]));

  const readRegistry = createRegistryReader({ readSecret, environment: config.environment });
  const repositories = createGitRepository({ folder: join(config.folders.work, 'mirrors') });
  const blobs = createBlobs({ kind: 'folder', folder: config.folders.blobs });
  const logs = createLogs(parts.files, spool, warn('a log could not be written'));
  const facts = createStageFacts(spool);
  const pipelines = createPipelines(createDefinitions(store));
  const openTarget = createTargetOpener(config, readRegistry);
  const openRouter = await createRouterOpener(config);
  const places = createPlaces({
    store,
    openTarget,
    openRouter,
    folder: join(config.folders.work, 'places'),
  });
  const materials = createMaterials({ repositories, readSecret, folder: join(config.folders.work, 'materials') });
  const databases = createDatabases((place) => openDatabase(place, config, readSecret));
  const findTool = createToolFinder(config, logger);
  const supplyChain = createSupplyChain(findTool, createToolLook(config), blobs);
  const trust = createImageTrust({
    signer: supplyChain.signer,
    readRegistry,
    openManifests: createOciRegistry,
    readEvidence: (project, run) => readImageEvidence(store.db, project, run),
    blobs,
  });
  const records = createInfrastructureRecords(blobs);
  const secretVersions = (refs: SecretRefs): Promise<Readonly<Record<string, string>>> => secrets.versions(refs);
  const infrastructures = createInfrastructures({ records, secretVersions });
  const infrastructure = {
    ...{ store, places, repositories, readSecret, readSecrets, secretVersions, records, fence },
    open: ({ tool }: InfrastructureSpec) => createInfrastructure(tool, findInfrastructureProgram(config)),
  };
  const deploymentLogs = createDeploymentLogs({ logs, readSecret, readSecrets });
  const deploy = { store, places, materials, databases, fence, blobs, trust, logs: deploymentLogs };

  const notices = createNoticeActivities({ store, logger, readSecret, settings: config.api });
  const tellInPassing = inPassing((notice) => notices.sendNotice(notice));
  const turns = { store, temporal: parts.temporal, sendNotice: tellInPassing };
  const freeTurn = createFreeTurn(turns);
  const runFacts = createRunFactActivities({ store, blobs, sendNotice: tellInPassing, freeTurn });
  const polls = createPollActivities({ store, repositories, readSecret });
  const orchestration = {
    readPolled: polls.readPolled.bind(polls),
    ...createFactActivities({ store, spool, sendNotice: tellInPassing, proofs: parts.proofs }),
    ...createProofActivities({ proofs: parts.proofs }),
    ...runFacts,
    ...createRunTurnActivities(turns),
    ...createTurnActivities({ store, temporal: parts.temporal }),
    ...createAbandonedActivities({
      store,
      temporal: parts.temporal,
      sendNotice: (notice) => notices.sendNotice(notice),
      freeTurn,
    }),
  };
  const engine = config.engine.address;
  const builder = await createDockerBuilder(engine);
  const openEngine = createEngineOpener(engine, builder);
  const workspaces = {
    folder: join(config.folders.work, 'runs'),
    queue: parts.workspaceQueue,
    patienceMs: config.worker.patienceMs,
  };
  const { readRetention, removeOldRows, ...removing } = createUpkeepActivities({
    ...deploy,
    keptFiles: createKeptFileRecords(store),
    files: parts.files,
    repositories,
    builder,
    openEngine: ({ spec: { target } }) => openEngine(target.socket === undefined ? engine : `unix://${target.socket}`),
    workspaces,
  });
  const machine = createDiskActivities({
    ...deploy,
    machine: { queue: parts.machineQueue, name: config.worker.name },
    limits: config.disk,
    folders: { state: config.stateFolder, ...config.folders },
    engine,
    openEngine,
  });
  // A worker of the same name in the same folder is the same worker, however often it was started.
  const owner = `${config.worker.name}:${config.folders.work}`;
  const services = await createServiceHost({ address: engine, owner });
  const container = await createContainerExecutor({ address: engine, owner });
  if (config.worker.capabilities.includes('build')) {
    await container.reapAbandoned().catch(warn('steps of an earlier start could not be removed'));
    await services.reapAbandoned().catch(warn('services of an earlier start could not be removed'));
  }
  const host = createHostExecutor({ spare: true });
  const liveScans = createLiveScanActivities({ store, blobs, supplyChain, builder, readRegistry });
  const offering = {
    store,
    repositories,
    branches: createGitBranches({ folder: join(config.folders.work, 'mirrors') }),
    openForge: (project: ProjectDefinition) => openForgeApi(project, readSecret),
    readSecret,
  };
  const build = {
    ...createBaseUpdateActivities({
      ...offering,
      openRegistry: createOciRegistry,
      openForeign: createForeignRegistry,
      readRegistry,
    }),
    ...createDependencyUpdateActivities({ ...offering, manifests: manifestKinds, indexes: packageIndexes }),
    scanLiveImage: liveScans.scanLiveImage.bind(liveScans),
    renewScans: liveScans.renewScans.bind(liveScans),
    // On the queue of this machine: the files of it, and the images of its engine.
    removeLeftFiles: removing.removeLeftFiles,
    removeOldImages: removing.removeOldImages,
    pollRepository: polls.pollRepository.bind(polls),
    ...createScheduledRunActivities({ store, repositories, readSecret }),
    ...createRunStartActivities({ store, repositories, readSecret }),
    ...createSourceActivities({
      repositories,
      store: createRunStore(store, warn('a plan could not be recorded')),
      pipelines,
      readSecret,
      checkTools: createToolCheck(),
      readMachine,
      async checkConfiguration(pair, environment, readFile) {
        const files = await Promise.all(
          environmentFiles(environment).map(async (path) => [path, await readFile(path)] as const),
        );
        const found = files.filter((file): file is [string, string] => file[1] !== undefined);
        return readConfiguration(Object.fromEntries(found), environment, pair);
      },
      logs,
      sendNotice: (notice) => notices.sendNotice(notice),
      workspaces,
    }),
    ...createStageActivities({
      executors: { host, container },
      services,
      repositories,
      pipelines,
      readSecret,
      readRegistry,
      caches: createStageCaches({
        blobs,
        index: createCacheIndex(store, warn('caches could not be asked')),
        repositories,
        recordUse: recordCacheUsesTo(spool),
      }),
      artifacts: createStageArtifacts({
        blobs,
        record: recordArtifactsTo(spool),
      }),
      logs,
      facts,
      once: createOnceSteps(store),
      reports: { blobs, readBaseline: createBaselines(store) },
    }),
    ...createPackageActivities({
      uploads: packageUploads,
      pipelines,
      readSecret,
      logs,
      facts,
      record: recordPackagesTo(spool),
    }),
    ...createImageActivities({
      builder,
      buildKit: createBuildKitBuilder(engine, builder, findTool('buildx')),
      openBuildKit: createDaemonOpener(readSecret, findTool('buildx')),
      async openRegistry(address) {
        const manifests = createOciRegistry(address);
        return { manifests, pusher: await createDockerPusher(engine, address, manifests) };
      },
      builds: createKnownBuilds(store, warn('known builds could not be asked')),
      lists: createKnownLists(store, warn('known lists could not be asked')),
      claims: createRegistryClaims(store),
      alone: createAlone(fence),
      keptRuns: async (project, newest) =>
        (await readKeptBuilds(store.db, project, newest, await backupsOf(blobs, project))).runs,
      supplyChain,
      readRegistry,
      repositories,
      pipelines,
      readSecret,
      logs,
      facts,
      reports: { readBaseline: createBaselines(store) },
    }),
  };
  return {
    orchestration: taking(spool, {
      ...createAuditReportActivities({ store, blobs }),
      ...orchestration,
      ...createRoundActivities({ store }),
      readLive: liveScans.readLive.bind(liveScans),
      readRetention,
      removeOldRows,
    }),
    machine,
    build,
    deploy: taking(spool, {
      ...removing,
      ...createRecoveryActivities({
        ...{ store, places, openTarget, openRouter, repositories, readSecret, blobs },
        memory: createRecoveryMemory(parts.temporal),
      }),
      ...createRegistryRetentionActivities({ store, blobs, readRegistry, openManifests: createOciRegistry }),
      ...createPlanActivities({
        ...deploy,
        ...{ repositories, secretVersions, infrastructures },
        protections: createProtections(readSecret),
      }),
      ...createInfrastructureActivities(infrastructure),
      ...createInfrastructureLeftovers(infrastructure),
      ...createReleaseActivities({ ...deploy, readSecrets }),
      ...createTrafficActivities(deploy),
      ...createDataActivities({ ...deploy, recordProof: recordProofTo(spool) }),
      ...createWatchActivities({
        logs: deploymentLogs,
        places,
        databases,
        sendNotice: (notice) => notices.sendNotice(notice),
        openRequestLog: async () =>
          createHaproxyRequestLog({
            docker: await connectDocker(config.engine),
            container: config.router.container,
          }),
        recordSample: recordSampleTo(spool),
      }),
    }),
    resendNotices: () => notices.resendNotices(),
    notify: {
      sendNotice: (notice) => notices.sendNotice(notice),
      ...createFindingActivities({ store, blobs, readSecret, logs, settings: config.api }),
      ...createForgeActivities({ store, repositories, readSecret, settings: config.api }),
    },
    close: () => host.close(),
  };
}
