import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { type KeptArtifact, createStageArtifacts } from '../../src/activities/artifacts.ts';
import { createStageCaches } from '../../src/activities/caches.ts';
import type { SourceActivities, StageActivities } from '../../src/activities/contracts.ts';
import type { Logs, LogName } from '../../src/activities/logs.ts';
import type { Notice } from '../../src/activities/contracts.ts';
import { createPipelines } from '../../src/activities/pipelines.ts';
import { createSourceActivities, type SourceDependencies } from '../../src/activities/source.ts';
import { createStageActivities, type StageDependencies, type StageFacts } from '../../src/activities/stage.ts';
import { createToolCheck } from '../../src/activities/tools.ts';
import { reviveDefinition } from '../../src/definition/load.ts';
import { runKey } from '../../src/definition/run-key.ts';
import { ProviderError } from '../../src/domain/failures.ts';
import type { RunInput, RunPlan, SourceEvent, StageReport } from '../../src/domain/run.ts';
import { createFolderBlobs } from '../../src/providers/blobs/folder.ts';
import type { BlobStore } from '../../src/providers/blobs/port.ts';
import { createHostExecutor } from '../../src/providers/executors/host.ts';
import type { StepExecutors } from '../../src/providers/executors/port.ts';
import type { ServiceHost } from '../../src/providers/executors/services-port.ts';
import { createGitRepository } from '../../src/providers/repositories/git.ts';
import { createMemoryCacheIndex } from './fakes/caches.ts';
import { createGitOrigin, type GitOrigin } from './git-origin.ts';

/** Everything that runs of one repository need, on this machine and without Temporal; logs and facts are kept to be looked at. */
export interface RunFixture {
  readonly folder: string;
  readonly origin: GitOrigin;
  readonly facts: string[];
  readonly notices: Notice[];
  readonly artifacts: KeptArtifact[];
  /** Where stages keep artifacts, caches and what their reports say. */
  readonly blobs: BlobStore;
  readonly secrets: Map<string, string>;
  readonly source: SourceDependencies;
  readonly stage: StageDependencies;
  /** project.yaml, read by every run. */
  projectYaml: string;
  input(commit: string, event?: Partial<SourceEvent>, more?: Partial<RunInput>): RunInput;
  prepare(input: Parameters<SourceActivities['prepareRun']>[0]): Promise<RunPlan>;
  runStage(plan: RunPlan, stage: string, environment?: MockActivityEnvironment): Promise<StageReport>;
  log(step: string, attempt?: number): string;
  remove(): void;
}

/** Where an activity thinks it runs; quiet, for tests expect it to fail. */
export function activityEnvironment(attempt = 1): MockActivityEnvironment {
  return new MockActivityEnvironment({ attempt }, { logger: new DefaultLogger('ERROR') });
}

/** @param options.executors - default: the host, and no containers. */
export function createRunFixture(
  options: { readonly executors?: Partial<StepExecutors>; readonly services?: ServiceHost } = {},
): RunFixture {
  const folder = mkdtempSync(join(tmpdir(), 'slipway-run-'));
  const origin = createGitOrigin();
  const logs = new Map<string, Buffer[]>();
  const definitions = new Map<string, string>();
  const numbers = new Map<string, number>();
  const facts: string[] = [];
  const notices: Notice[] = [];
  const artifacts: KeptArtifact[] = [];
  const blobs = createFolderBlobs({ folder: join(folder, 'blobs') });
  const secrets = new Map<string, string>();
  const name = (log: Pick<LogName, 'stage' | 'step' | 'attempt'>): string => `${log.stage}/${log.step}/${log.attempt}`;

  const keep: Logs = {
    open(log) {
      const chunks = logs.get(name(log)) ?? [];
      logs.set(name(log), chunks);
      return {
        write: (chunk) => void chunks.push(Buffer.from(chunk)),
        say: (line) => void chunks.push(Buffer.from(`[slipway] ${line}\n`)),
        close: () => Promise.resolve(),
      };
    },
  };
  const once = new Set<string>();
  const stageFacts: StageFacts = {
    stageStarted: ({ stage, phase }) => void facts.push(`phase ${phase}`, `stage ${stage} started`),
    stepStarted: ({ step }) => void facts.push(`step ${step} started`),
    stepSettled: ({ step, report }) => void facts.push(`step ${step} ${report.verdict}`),
    stageSettled: ({ report }) => void facts.push(`stage ${report.name} ${report.verdict}`),
  };
  const missing = (): never => {
    throw new Error('no containers in this fixture');
  };
  const repositories = createGitRepository({ folder: join(folder, 'mirrors') });
  const pipelines = createPipelines({
    read(hash) {
      const text = definitions.get(hash);
      if (text === undefined) throw new ProviderError('NotFound', `no definition ${hash}`);
      return Promise.resolve(reviveDefinition(text));
    },
  });
  const readSecret: SourceDependencies['readSecret'] = (ref) => {
    const value = secrets.get(ref.kind === 'env' ? ref.name : ref.path);
    return value === undefined
      ? Promise.reject(new ProviderError('SecretMissing', 'a secret is missing'))
      : Promise.resolve(value);
  };

  let activities: StageActivities | undefined;
  const fixture: RunFixture = {
    folder,
    origin,
    facts,
    notices,
    artifacts,
    blobs,
    secrets,
    projectYaml: [
      'version: 1',
      'project: hello',
      `repository: { url: "file://${origin.path}", forge: { kind: github, secrets: [{ env: WEBHOOK }] } }`,
      'registry: { address: "127.0.0.1:5000", insecure: true }',
      'steps:',
      '  executor: host',
      '  secrets: { TOKEN: { env: TOKEN } }',
    ].join('\n'),
    source: {
      repositories,
      pipelines,
      readSecret,
      checkTools: createToolCheck(),
      // Enough for every default: tests run on machines of every size.
      readMachine: () => Promise.resolve({ cores: 64, memoryBytes: 1e12, diskBytes: 1e13 }),
      checkConfiguration: () => Promise.resolve(),
      logs: keep,
      sendNotice: (notice) => Promise.resolve(void notices.push(notice)),
      workspaces: { folder: join(folder, 'workspaces'), queue: 'build@here' },
      store: {
        openRun: ({ project, key }) => {
          if (!numbers.has(key)) numbers.set(key, numbers.size + 1);
          return Promise.resolve({ project, key, number: numbers.get(key)! });
        },
        readProject: (project) =>
          Promise.resolve(project === 'hello' ? { text: fixture.projectYaml, hash: fixture.projectYaml } : undefined),
        putDefinition: (hash, text) => Promise.resolve(void definitions.set(hash, text)),
        recordPlan: (plan) => void facts.push(`plan ${plan.version}`),
      },
    },
    stage: {
      executors: {
        host: createHostExecutor(),
        container: { kind: 'container', open: missing },
        ...options.executors,
      },
      services: options.services ?? { open: missing, reapAbandoned: missing },
      repositories,
      pipelines,
      readSecret,
      readRegistry: ({ address, insecure }) =>
        Promise.resolve({ address, insecure, credentials: { address, username: 'ci', password: 'pull' } }),
      caches: createStageCaches({
        blobs,
        index: createMemoryCacheIndex(),
        repositories,
        recordUse: ({ cache, hit }) => void facts.push(`cache ${cache} ${hit}`),
      }),
      artifacts: createStageArtifacts({ blobs, record: (artifact) => void artifacts.push(artifact) }),
      logs: keep,
      facts: stageFacts,
      once: {
        begin: ({ run, stage, step }) => Promise.resolve(void once.add(`${run.number}/${stage}/${step}`)),
        readStarted: (run, stage) =>
          Promise.resolve(
            new Set(
              [...once]
                .filter((name) => name.startsWith(`${run.number}/${stage}/`))
                .map((name) => name.split('/').at(-1) ?? ''),
            ),
          ),
      },
      reports: { blobs, readBaseline: () => Promise.resolve(undefined) },
    },
    input(commit, event = {}, more = {}) {
      const whole: SourceEvent = {
        kind: 'push',
        ref: 'refs/heads/main',
        before: '0'.repeat(40),
        after: commit,
        author: 'ada',
        ...event,
      };
      return { project: 'hello', key: runKey(whole), event: whole, acceptedAt: new Date().toISOString(), ...more };
    },
    prepare: (input) => {
      const activities = createSourceActivities(fixture.source);
      return activityEnvironment().run<[], RunPlan, () => Promise<RunPlan>>(() => activities.prepareRun(input));
    },
    runStage: (plan, stage, environment = activityEnvironment()) => {
      const made = (activities ??= createStageActivities(fixture.stage));
      return environment.run<[], StageReport, () => Promise<StageReport>>(() =>
        made.runStage({ run: plan.run, plan, stage }),
      );
    },
    log: (step, attempt = 1) => Buffer.concat(logs.get(`${step}/${attempt}`) ?? []).toString(),
    remove() {
      origin.remove();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  return fixture;
}
