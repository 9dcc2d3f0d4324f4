import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { type Document, parseDocument } from 'yaml';
import { type Forge, createForge } from '../../examples/demo/forge.ts';
import { type EnvironmentSite, demoProject } from '../../examples/demo/project.ts';
import { type StoryRepository, type Pushed, makeStoryRepository } from '../../examples/demo/repository.ts';
import { type Client, type RunName, createClient } from '../../src/cli/client.ts';
import type { DeploymentRef } from '../../src/domain/deployment.ts';
import { ensureApplicationDatabase } from '../../src/local/application-postgres.ts';
import { type LocalContext, createLocalContext, installationId } from '../../src/local/context.ts';
import { connectDocker } from '../../src/local/docker.ts';
import { choosePort } from '../../src/local/ports.ts';
import { type System, type SystemEvent, startSystem } from '../../src/local/system.ts';
import { type LocalComponents, down, up } from '../../src/local/up.ts';
import type { DeploymentRecord } from '../../src/store/deployments.ts';
import type { RunRecord } from '../../src/store/runs.ts';
import { components } from './components.ts';
import { until } from './until.ts';

type Environment = 'staging' | 'production';

/** A whole installation with a project, a repository and people; what a test breaks is its own, what it may not break is shared. */
export interface InstallationStory {
  readonly project: string;
  readonly context: LocalContext;
  readonly system: System;
  /** Everything that API and worker did since the start. */
  readonly events: readonly SystemEvent[];
  /** Temporal, store and router are this installation's own. */
  readonly own: Pick<LocalComponents, 'temporal' | 'store' | 'router'>;
  readonly dockerAddress: string;
  readonly repository: StoryRepository;
  readonly forge: Forge;
  readonly operator: Client;
  readonly linus: Client;
  readonly ada: Client;
  readonly sites: Readonly<Record<Environment, EnvironmentSite>>;
  readonly addresses: Readonly<Record<Environment, string>>;
  readonly databases: Readonly<Record<Environment, string>>;
  /** Changes project.yaml as it is now. */
  setProject(change: (document: Document) => void): Promise<void>;
  /** Adds another project: this one under another name, and changed. */
  addProject(name: string, change: (document: Document) => void): Promise<void>;
  /** Asks a database of the service, or the server itself with `postgres`. */
  query<T extends pg.QueryResultRow>(database: string, text: string): Promise<T[]>;
  /** Commits and pushes, delivers the webhook, and waits until there is a run. */
  push(input: {
    readonly branch: string;
    readonly subject: string;
    readonly files?: Readonly<Record<string, string | null>>;
  }): Promise<RunName>;
  runOf(pushed: Pushed): Promise<RunName>;
  /** Waits for its outcome; what does not answer for a while is asked again. */
  endOfRun(run: RunName): Promise<RunRecord>;
  endOf(deployment: DeploymentRef): Promise<DeploymentRecord>;
  /** The one deployment that a run led to. */
  deploymentOf(run: RunName): Promise<DeploymentRef>;
  /** Pushes to `develop` and waits until it is on staging; fails when that is not how it ends. */
  release(subject: string, files?: Readonly<Record<string, string | null>>): Promise<DeploymentRecord>;
  /** Ada approves the plan as soon as it is asked for. */
  approve(deployment: DeploymentRef): Promise<void>;
  /** What a user gets. */
  answer(environment: Environment): Promise<{ readonly version: string }>;
  kill(name: 'api' | 'worker'): Promise<void>;
  close(): Promise<void>;
}

export interface StoryOptions {
  /** Lower case; part of every name outside of its folder. */
  readonly name: string;
  /** Written over the example before its first commit. */
  readonly files?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
  /** Builds on this engine in place of the tests' own; the router stays where it is. It must have the tests' base image. */
  readonly engine?: string;
  /** Secret of the forge's webhook. Default: one that nobody knows. */
  readonly webhookSecret?: string;
}

/** On a machine with many hands every wait is long; none of these is reached where things go well. */
const runTimeoutMs = 180_000;
const deploymentTimeoutMs = 240_000;

/**
 * A row of ports for each process, since two test runs may share the machine; below those that the kernel gives to outgoing connections,
 * for one of these would be in the way of a slot.
 */
const row = 10_000 + (process.pid % 60) * 80;

export async function startInstallationStory(options: StoryOptions): Promise<InstallationStory> {
  const project = `story-${options.name}`;
  const shared = await components('docker', 'registry', 'applicationPostgres', 'nodeImage');
  const engineAddress = options.engine ?? shared.docker.address;
  const stateFolder = mkdtempSync(join(tmpdir(), `slipway-${options.name}-`));
  // The store's server runs as a user of its own and must be able to enter.
  chmodSync(stateFolder, 0o755);
  const said: string[] = [];
  const context = createLocalContext({
    stateFolder,
    preferredPorts: { temporal: row, 'temporal-ui': row + 10, store: row + 20, api: row + 30 },
    onProgress: ({ component, message }) => said.push(`${component}: ${message}`),
  });
  const place = { stateFolder, preferredPorts: context.preferredPorts, onProgress: context.report };
  const events: SystemEvent[] = [];
  let system: System | undefined;

  async function close(): Promise<void> {
    await system?.stop();
    const engine = connectDocker(engineAddress);
    const filters = { label: [`slipway.project=${project}`] };
    const left = await engine.listContainers({ all: true, filters });
    await Promise.all(left.map(({ Id }) => engine.getContainer(Id).remove({ force: true, v: true })));
    await down({ ...place, target: 'end' });
    rmSync(stateFolder, { recursive: true, force: true });
    rmSync(join('/var/lib/slipway', installationId(context)), { recursive: true, force: true });
    await dropDatabases(shared.applicationPostgres.url, databaseName(project, ''));
  }

  try {
    const [own, repository] = await Promise.all([
      up({
        ...place,
        want: ['temporal', 'store', 'docker', 'router'],
        configured: { dockerHost: shared.docker.address },
      }),
      makeStoryRepository(join(stateFolder, 'forge'), { ...patientImage(), ...options.files }),
    ]);
    const secret = (name: string, value: string): string => {
      const file = join(stateFolder, 'secrets', name);
      mkdirSync(join(stateFolder, 'secrets'), { recursive: true, mode: 0o700 });
      writeFileSync(file, `${value}\n`, { mode: 0o600 });
      return file;
    };
    const taken = new Set<number>();
    const port = async (): Promise<number> => {
      const found = await choosePort({ ...context, preferredPorts: { story: row + 40 } }, 'story', 'story', taken);
      taken.add(found);
      return found;
    };
    const site = async (name: Environment): Promise<EnvironmentSite> => {
      const { url, containerUrl } = await ensureApplicationDatabase(
        shared.applicationPostgres,
        databaseName(project, name),
      );
      return {
        port: await port(),
        slots: { blue: await port(), green: await port() },
        databaseUrlFile: secret(`${name}-database`, url),
        serviceDatabaseUrlFile: secret(`${name}-service-database`, containerUrl),
      };
    };
    const sites = { staging: await site('staging'), production: await site('production') };
    const started = await startSystem(
      context,
      { ...own, docker: { ...own.docker, address: engineAddress } },
      {
        env: options.env ?? {},
        onEvent: (event) => events.push(event),
      },
    );
    system = started;
    const webhookSecret = options.webhookSecret ?? crypto.randomUUID();
    const operator = createClient({ url: started.url, token: started.token, project, source: 'a test' });
    const document = parseDocument(
      await demoProject({
        name: project,
        repositoryUrl: repository.url,
        registry: shared.registry.address,
        baseImage: shared.nodeImage.image,
        webhookSecretFile: secret('webhook', webhookSecret),
        socket: engineAddress.startsWith('unix://') ? engineAddress.slice('unix://'.length) : undefined,
        clientBin: shared.applicationPostgres.clientBin,
        environments: sites,
      }),
    );
    // What a story sees does not depend on whether somebody has syft.
    document.setIn(['images', 'sbom'], 'off');
    let text = document.toString({ lineWidth: 0 });
    await operator.putProject(project, text);
    const person = async (name: string): Promise<Client> => {
      const { token } = await operator.createToken({ name, role: 'approver', groups: ['tech-lead'] });
      return createClient({ url: started.url, token, project, source: 'a test' });
    };
    const forge = createForge({ api: started.url, project, secret: webhookSecret, cloneUrl: repository.url });
    const addresses = {
      staging: `http://127.0.0.1:${String(sites.staging.port)}`,
      production: `http://127.0.0.1:${String(sites.production.port)}`,
    };

    const story: InstallationStory = {
      project,
      context,
      system: started,
      events,
      own,
      dockerAddress: engineAddress,
      repository,
      forge,
      operator,
      linus: await person('linus'),
      ada: await person('ada'),
      sites,
      addresses,
      databases: {
        staging: databaseName(project, 'staging'),
        production: databaseName(project, 'production'),
      },
      async setProject(change) {
        const document = parseDocument(text);
        change(document);
        text = document.toString({ lineWidth: 0 });
        await operator.putProject(project, text);
      },
      async addProject(name, change) {
        const document = parseDocument(text);
        document.setIn(['project'], name);
        change(document);
        await operator.putProject(name, document.toString({ lineWidth: 0 }));
      },
      query: (database, sql) => ask(shared.applicationPostgres.url, database, sql),
      async push(input) {
        const pushed = await repository.commit(input);
        const { status, body } = await forge.push(pushed);
        if (status !== 202) throw new Error(`the webhook was answered with ${String(status)}: ${JSON.stringify(body)}`);
        return await story.runOf(pushed);
      },
      runOf: (pushed) =>
        until(
          async () => {
            const { items } = await operator.listRuns({ project, limit: 50 });
            return items.find(({ commit, ref }) => commit === pushed.after && ref === pushed.ref);
          },
          { timeoutMs: 60_000, everyMs: 100, what: `a run of ${pushed.after}` },
        ),
      endOfRun: (run) =>
        until(
          async () => {
            const found = await operator.readRun(run);
            return found.outcome === null ? undefined : found;
          },
          { timeoutMs: runTimeoutMs, everyMs: 150, what: `the end of run ${String(run.number)}` },
        ),
      endOf: (ref) =>
        until(
          async () => {
            const found = await operator.readDeployment(ref);
            return found.outcome === null ? undefined : found;
          },
          { timeoutMs: deploymentTimeoutMs, everyMs: 150, what: `the end of deployment ${String(ref.number)}` },
        ),
      async deploymentOf(run) {
        const { outcome, reason, deployments } = await story.endOfRun(run);
        const [deployment] = deployments;
        if (outcome !== 'succeeded' || deployment === undefined || deployments.length !== 1) {
          const list = JSON.stringify(deployments);
          throw new Error(
            `run ${String(run.number)} ended ${String(outcome)} (${String(reason)}) with deployments ${list}`,
          );
        }
        return deployment;
      },
      async release(subject, files = {}) {
        const run = await story.push({ branch: 'develop', subject, files });
        const deployment = await story.endOf(await story.deploymentOf(run));
        if (deployment.outcome !== 'succeeded') {
          throw new Error(`“${subject}” ended ${String(deployment.outcome)}: ${String(deployment.reason)}`);
        }
        return deployment;
      },
      async approve(ref) {
        const plan = await until(
          async () => {
            const found = await operator.readDeployment(ref);
            if (found.outcome !== null) return { hash: undefined, ended: found.outcome };
            return found.phase === 'awaiting-approval' && found.plan !== null ? { hash: found.plan.hash } : undefined;
          },
          { timeoutMs: 60_000, everyMs: 100, what: `deployment ${String(ref.number)} to wait for approval` },
        );
        if (plan.hash === undefined) throw new Error(`it ended ${plan.ended} before anybody was asked`);
        await story.ada.approve(ref, { plan: plan.hash });
      },
      async answer(environment) {
        const response = await fetch(`${addresses[environment]}/`, { signal: AbortSignal.timeout(5_000) });
        if (!response.ok) throw new Error(`${environment} answers ${String(response.status)}`);
        return (await response.json()) as { version: string };
      },
      async kill(name) {
        const running = await until(() => started.process(name), { timeoutMs: 30_000, what: `${name} to run` });
        process.kill(running.pid, 'SIGKILL');
        await until(() => started.process(name)?.pid !== running.pid, { what: `${name} to be gone` });
      },
      close,
    };
    return story;
  } catch (error) {
    await close();
    throw error;
  }
}

/** The container's own check starts a program; on a machine with many hands that takes longer than a service's own users would wait. */
function patientImage(): Readonly<Record<string, string>> {
  const dockerfile = readFileSync(new URL('../../examples/hello/Dockerfile', import.meta.url), 'utf8');
  const patient = dockerfile.replace(/^HEALTHCHECK .* CMD/m, 'HEALTHCHECK --interval=3s --timeout=25s --retries=5 CMD');
  if (patient === dockerfile) throw new Error('the Dockerfile of the example has no HEALTHCHECK on one line');
  return { Dockerfile: patient };
}

/** The example's slipway.yaml with one step that takes no time, for tests that are about something else. */
export function quickDefinition(): string {
  const text = readFileSync(new URL('../../examples/hello/slipway.yaml', import.meta.url), 'utf8');
  const quick = 'stages:\n  - name: quick\n    steps:\n      - name: nothing\n        run: ["true"]\n\nimages:\n';
  return text.replace(/^stages:\n[^]*?^images:\n/m, quick);
}

function databaseName(project: string, environment: string): string {
  return `${project.replaceAll('-', '_')}_${environment}`;
}

async function ask<T extends pg.QueryResultRow>(serverUrl: string, database: string, text: string): Promise<T[]> {
  const url = new URL(serverUrl);
  url.pathname = `/${database}`;
  const client = new pg.Client({ connectionString: url.href, application_name: 'slipway test' });
  await client.connect();
  try {
    return (await client.query<T>(text)).rows;
  } finally {
    await client.end();
  }
}

async function dropDatabases(serverUrl: string, prefix: string): Promise<void> {
  const like = `${prefix.replaceAll('_', '\\_')}%`;
  const found = await ask<{ datname: string }>(
    serverUrl,
    'postgres',
    `SELECT datname FROM pg_database WHERE datname LIKE '${like}'`,
  );
  for (const { datname } of found) await ask(serverUrl, 'postgres', `DROP DATABASE "${datname}" WITH (FORCE)`);
}
