import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import pg from 'pg';
import { createClient } from '../../src/cli/client.ts';
import { ensureApplicationDatabase } from '../../src/local/application-postgres.ts';
import { endHolder } from '../../src/local/claim.ts';
import { type LocalContext, type LocalOptions, createLocalContext, installationId } from '../../src/local/context.ts';
import { connectDocker } from '../../src/local/docker.ts';
import { choosePort } from '../../src/local/ports.ts';
import { createReporter } from '../../src/local/report.ts';
import { type System, startSystem } from '../../src/local/system.ts';
import { type LocalComponents, down, up } from '../../src/local/up.ts';
import type { Role } from '../../src/store/tables/engine.ts';
import { badRelease } from './changes.ts';
import { createForge } from './forge.ts';
import type { Narrator } from './narrator.ts';
import { type EnvironmentSite, demoProject } from './project.ts';
import { makeStoryRepository } from './repository.ts';
import { type Database, type Scene, project } from './story.ts';

/** The scene with everything that stands behind it. */
export interface Stage {
  readonly scene: Scene;
  readonly system: System;
  readonly stateFolder: string;
  readonly components: Pick<LocalComponents, (typeof wanted)[number]>;
  /** Stops Slipway, and removes what the story deployed and started. */
  strike(): Promise<void>;
}

export interface StageOptions {
  readonly narrator: Narrator;
  /** Default `.slipway/demo`. Of an earlier story only the engine's images are kept. */
  readonly stateFolder?: string | undefined;
  /** Away from the ports that a person's own installation takes. */
  readonly preferredPorts?: Readonly<Record<string, number>> | undefined;
}

const wanted = ['temporal', 'store', 'docker', 'registry', 'router', 'applicationPostgres', 'nodeImage'] as const;

const demoPorts = {
  temporal: 17233,
  'temporal-ui': 18233,
  registry: 15050,
  store: 15440,
  'application-postgres': 15540,
  api: 18420,
  staging: 18080,
  'staging-blue': 18100,
  'staging-green': 18150,
  production: 18200,
  'production-blue': 18250,
  'production-green': 18300,
};

/** What survives from one story to the next: the engine's images, the bundle of the workflows, and which ports were taken. */
const kept = ['docker', 'bundles', 'run'];

/** Finds or starts everything, empty of earlier stories, and gives the people of the story their tokens. */
export async function setStage(options: StageOptions): Promise<Stage> {
  const { narrator } = options;
  const reporter = createReporter((line) => narrator.say(narrator.paint.dim(line)));
  const place: LocalOptions = {
    stateFolder: resolve(options.stateFolder ?? '.slipway/demo'),
    preferredPorts: options.preferredPorts ?? demoPorts,
    onProgress: reporter.report,
  };
  const context = createLocalContext(place);
  await clearStage(place, context);
  const components = await up({ ...place, want: wanted, configured: { dockerHost: context.env['DOCKER_HOST'] } });
  await removeContainers(components.docker.address);
  const folder = context.stateFolder;
  const secret = (name: string, value: string): string => {
    const file = join(folder, 'secrets', name);
    mkdirSync(join(folder, 'secrets'), { recursive: true, mode: 0o700 });
    writeFileSync(file, `${value}\n`, { mode: 0o600 });
    return file;
  };
  const webhookSecret = crypto.randomUUID();
  const site = async (name: 'staging' | 'production'): Promise<EnvironmentSite> => {
    const { url, containerUrl } = await ensureApplicationDatabase(components.applicationPostgres, `hello_${name}`);
    return {
      port: await choosePort(context, 'demo', name),
      slots: {
        blue: await choosePort(context, 'demo', `${name}-blue`),
        green: await choosePort(context, 'demo', `${name}-green`),
      },
      databaseUrlFile: secret(`hello-${name}-database`, url),
      serviceDatabaseUrlFile: secret(`hello-${name}-service-database`, containerUrl),
    };
  };
  const environments = { staging: await site('staging'), production: await site('production') };
  const repository = await makeStoryRepository(join(folder, 'forge'));
  const system = await startSystem(context, components, {
    apiPort: await choosePort(context, 'demo', 'api'),
    onEvent: ({ process: name, what, pid, detail }) => {
      const why = detail === undefined ? '' : ` (${detail})`;
      narrator.say(narrator.paint.dim(`${name}${pid === undefined ? '' : ` ${pid}`} ${what}${why}`));
    },
  });
  try {
    const operator = createClient({ url: system.url, token: system.token, project, source: 'the demo' });
    await operator.putProject(
      project,
      await demoProject({
        name: project,
        repositoryUrl: repository.url,
        registry: components.registry.address,
        baseImage: components.nodeImage.image,
        webhookSecretFile: secret('hello-webhook', webhookSecret),
        clientBin: components.applicationPostgres.clientBin,
        environments,
      }),
    );
    const person = async (name: string, role: Role, groups: readonly string[]) => {
      const { token } = await operator.createToken({ name, role, groups });
      return createClient({ url: system.url, token, project, source: 'the demo' });
    };
    const scene: Scene = {
      narrator,
      repository,
      forge: createForge({ api: system.url, project, secret: webhookSecret, cloneUrl: repository.url }),
      people: {
        linus: await person('linus', 'approver', ['tech-lead']),
        ada: await person('ada', 'approver', ['tech-lead']),
        operator,
      },
      addresses: {
        staging: `http://127.0.0.1:${environments.staging.port}`,
        production: `http://127.0.0.1:${environments.production.port}`,
      },
      database: databaseOf(components.applicationPostgres.url),
      workerPid: () => system.process('worker')?.pid,
      killWorker: async () => {
        const pid = system.process('worker')?.pid;
        if (pid === undefined) throw new Error('no worker runs that could be killed');
        process.kill(pid, 'SIGKILL');
        return await Promise.resolve({ pid });
      },
    };
    return {
      scene,
      system,
      components,
      stateFolder: folder,
      strike: async () => {
        await system.stop();
        await clearStage(place, context, components.docker.address);
      },
    };
  } catch (error) {
    await system.stop();
    throw error;
  }
}

/** Ends what an earlier story left running, and forgets what it did. */
async function clearStage(place: LocalOptions, context: LocalContext, engine?: string): Promise<void> {
  // Before the engine may go: on one that was there before us, only what we deployed is ours to remove.
  if (engine !== undefined) await removeContainers(engine);
  // A story that was kept has a `slipway up`, which would start again whatever is ended.
  await endHolder(context.stateFolder);
  await down({ ...place, target: 'end' });
  for (const name of readdirSync(context.stateFolder)) {
    if (!kept.includes(name)) rmSync(join(context.stateFolder, name), { recursive: true, force: true });
  }
  // Where another user than root could not enter the state folder, databases lie here.
  rmSync(join('/var/lib/slipway', installationId(context)), { recursive: true, force: true });
  createLocalContext(place);
}

async function removeContainers(engine: string): Promise<void> {
  const docker = connectDocker(engine);
  const filters = { label: [`slipway.project=${project}`] };
  const containers = await docker.listContainers({ all: true, filters });
  await Promise.all(containers.map(({ Id }) => docker.getContainer(Id).remove({ force: true, v: true })));
}

function databaseOf(serverUrl: string): Database {
  const ask = async <T extends pg.QueryResultRow>(
    database: string,
    text: string,
    values: string[] = [],
  ): Promise<T[]> => {
    const url = new URL(serverUrl);
    url.pathname = `/${database}`;
    const client = new pg.Client({ connectionString: url.href, application_name: 'slipway-demo' });
    await client.connect();
    try {
      return (await client.query<T>(text, values)).rows;
    } finally {
      await client.end();
    }
  };
  const notesIn: Database['notesIn'] = async (database) => {
    const [row] = await ask<{ count: number; damaged: number }>(
      database,
      `SELECT count(*)::int AS count, count(*) FILTER (WHERE ${badRelease.damage})::int AS damaged FROM notes`,
    );
    return row ?? { count: 0, damaged: 0 };
  };
  return {
    notes: (environment) => notesIn(`hello_${environment}`),
    notesIn,
    exists: async (database) =>
      (await ask('postgres', 'SELECT 1 FROM pg_database WHERE datname = $1', [database])).length > 0,
  };
}
