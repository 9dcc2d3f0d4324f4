import { lstatSync, readFileSync, readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Client as Database } from 'pg';
import { parseDocument } from 'yaml';
import { createForge } from '../../examples/demo/forge.ts';
import { demoProject } from '../../examples/demo/project.ts';
import { type StoryRepository, makeStoryRepository } from '../../examples/demo/repository.ts';
import { type Client, type RunName, createClient } from '../../src/cli/client.ts';
import { ensureApplicationDatabase } from '../../src/local/application-postgres.ts';
import { components } from '../support/components.ts';
import { type ComposeInstallation, prepareComposeInstallation } from '../support/compose-installation.ts';
import { type HeldStage, createHeldStage, heldStages } from '../support/held-stage.ts';
import { until } from '../support/until.ts';

/**
 * `docker-compose.yml` started as a whole, by Docker Compose itself, on a real engine. Slipway's own image is built of our Dockerfile, as it is.
 *
 * Real: Compose, the engine, HAProxy, the registry, PostgreSQL, Temporal with its tool for the schema, its command line and its UI, Debian, Node, npm
 * and every package that the Dockerfile installs. Where an image can be pulled, it is the public one. Where it cannot
 * (`tests/support/compose-images.ts`), an image of that name is made of the same programs: Debian's packages, and Go modules of the versions that the
 * file names. Imitated then are the entry points of PostgreSQL, Temporal and its UI (a few lines of shell, with the environment and the paths of
 * the public ones), and the registries of npm and Debian while the Dockerfile is built (a cache, filled from them before). PostgreSQL's clients come from
 * Debian instead of PostgreSQL's own packages then: that of the server which is backed up, and that of 17, which is not to be taken.
 *
 * The forge is a repository in a folder that the worker sees, with signed webhooks; the application's database is the tests' own.
 *
 * Not covered: clients of the other versions that the image has by default.
 */

const project = 'composed';
let installation: ComposeInstallation;
/** Version of the PostgreSQL that is deployed to. */
let serverMajor: number;
/** Ports that the releases of staging publish. */
let slots: readonly number[];
let repository: StoryRepository;
let client: Client;
let forge: ReturnType<typeof createForge>;
let stage: HeldStage;
let address: string;
let token: string;

async function push(subject: string, files: Readonly<Record<string, string | null>> = {}): Promise<RunName> {
  const pushed = await repository.commit({ branch: 'develop', subject, files });
  const { status, body } = await forge.push(pushed);
  expect({ status, body }).toMatchObject({ status: 202 });
  return await until(
    async () => (await client.listRuns({ project, limit: 50 })).items.find(({ commit }) => commit === pushed.after),
    { timeoutMs: 60_000, everyMs: 200, what: `a run of ${subject}` },
  );
}

/** Waits for a run, which must succeed. */
async function finished(run: RunName) {
  const ended = await until(
    async () => {
      const found = await client.readRun(run).catch(() => undefined);
      return (found?.outcome ?? null) === null ? undefined : found;
    },
    { timeoutMs: 240_000, everyMs: 300, what: `the end of run ${String(run.number)}` },
  );
  if (ended.outcome !== 'succeeded') throw new Error(`run: ${String(ended.outcome)}: ${String(ended.reason)}`);
  return ended;
}

/** Waits for run and deployment; both must succeed. */
async function deployed(run: RunName): Promise<{ version: string }> {
  const [ref] = (await finished(run)).deployments;
  const deployment = await until(
    async () => {
      const found = await client.readDeployment(ref!).catch(() => undefined);
      return (found?.outcome ?? null) === null ? undefined : found;
    },
    { timeoutMs: 240_000, everyMs: 300, what: `the end of deployment ${String(ref!.number)}` },
  );
  if (deployment.outcome !== 'succeeded') {
    throw new Error(`deployment: ${String(deployment.outcome)}: ${String(deployment.reason)}`);
  }
  return { version: deployment.version };
}

async function answer(at = address): Promise<{ version: string }> {
  const response = await fetch(`${at}/`, { signal: AbortSignal.timeout(5_000) });
  expect(response.status).toBe(200);
  return (await response.json()) as { version: string };
}

/** Everything that is to run runs and is healthy, and what is to end has ended well. */
async function whole(): Promise<void> {
  await until(
    async () => {
      const services = await installation.services();
      const bad = services.filter(({ name, state, health, exitCode }) =>
        once.includes(name)
          ? state !== 'exited' || exitCode !== 0
          : state !== 'running' || (health !== '' && health !== 'healthy'),
      );
      if (bad.length > 0) throw new Error(JSON.stringify(bad));
      return services.length > 0;
    },
    { timeoutMs: 180_000, everyMs: 500, what: 'every service to be healthy' },
  ).catch(async (error: unknown) => {
    throw new Error(`${String(error)}${await installation.logsOfTheBad()}`, { cause: error });
  });
}

async function postgresMajor(connectionString: string): Promise<number> {
  const database = new Database({ connectionString });
  await database.connect();
  try {
    const { rows } = await database.query<{ major: number }>(
      `select current_setting('server_version_num')::int / 10000 as major`,
    );
    return rows[0]!.major;
  } finally {
    await database.end();
  }
}

/** Services that do something and end. */
const once = ['router-files', 'temporal-schema', 'temporal-namespace'];

beforeAll(async () => {
  const { applicationPostgres } = await components('applicationPostgres');
  serverMajor = await postgresMajor(applicationPostgres.url);
  installation = await prepareComposeInstallation(serverMajor);
  stage = createHeldStage(installation, project);
  process.stderr.write(`made in place of public images: ${installation.standIns.join(', ') || 'none'}\n`);
}, 1_800_000);

afterAll(async () => {
  const left = await installation.engine.listContainers({
    all: true,
    filters: { label: [`slipway.project=${project}`] },
  });
  await Promise.all(left.map(({ Id }) => installation.engine.getContainer(Id).remove({ force: true, v: true })));
  await installation.remove();
}, 180_000);

describe('docker-compose.yml as a whole', () => {
  test('is built and started by one command, and everything of it is healthy', async () => {
    await installation.compose('up', '--detach', '--build');
    await whole();
    const names = (await installation.services()).map(({ name }) => name).sort();
    expect(names).toEqual([
      'api',
      'registry',
      'router',
      'router-files',
      'store',
      'temporal',
      'temporal-namespace',
      'temporal-postgresql',
      'temporal-schema',
      'temporal-ui',
      'worker',
    ]);
    const ui = await fetch(`${installation.temporalUi}/api/v1/namespaces`);
    expect(JSON.stringify(await ui.json())).toContain('"default"');
  }, 900_000);

  test('gives a token to whoever may run a command in the API', async () => {
    token = (await installation.compose('exec', '--no-TTY', 'api', 'node', 'scripts/first-token.ts')).trim();
    client = createClient({ url: installation.apiUrl, token, project, source: 'a test' });
    expect((await client.listRuns({ project: undefined, limit: 1 })).items).toEqual([]);
  }, 120_000);

  test('takes a signed push to staging, and serves it through its router', async () => {
    const shared = await components('docker', 'applicationPostgres', 'nodeImage');
    repository = await makeStoryRepository(join(installation.stateFolder, 'forge'), {
      Dockerfile: readFileSync(new URL('../../examples/hello/Dockerfile', import.meta.url), 'utf8').replace(
        /^HEALTHCHECK .* CMD/m,
        'HEALTHCHECK --interval=3s --timeout=25s --retries=5 CMD',
      ),
    });
    const site = async (name: string) => {
      const { url, containerUrl } = await ensureApplicationDatabase(shared.applicationPostgres, `composed_${name}`);
      return {
        port: await installation.port(),
        slots: { blue: await installation.port(), green: await installation.port() },
        databaseUrlFile: installation.secretFile(`${name}-database`, url),
        serviceDatabaseUrlFile: installation.secretFile(`${name}-service-database`, containerUrl),
      };
    };
    const environments = { staging: await site('staging'), production: await site('production') };
    address = `http://127.0.0.1:${String(environments.staging.port)}`;
    slots = Object.values(environments.staging.slots);
    const text = await demoProject({
      name: project,
      repositoryUrl: repository.url,
      registry: installation.registry,
      baseImage: shared.nodeImage.image,
      webhookSecretFile: installation.secretFile('webhook', 'a secret of the forge'),
      environments,
    });
    await client.putProject(project, text);
    forge = createForge({
      api: installation.apiUrl,
      project,
      secret: 'a secret of the forge',
      cloneUrl: repository.url,
    });
    const forged = await createForge({ api: installation.apiUrl, project, secret: 'guessed', cloneUrl: '' }).deliver(
      'push',
      '{}',
    );
    expect(forged.status).toBe(401);

    const run = await push('The first');
    await finished(run);
    const catalog = (await (await fetch(`http://${installation.registry}/v2/_catalog`)).json()) as {
      repositories: string[];
    };
    expect(catalog.repositories).toEqual([`${project}/hello`]);

    const { version } = await deployed(run);
    expect(await answer()).toMatchObject({ version });

    const document = parseDocument(text);
    document.setIn(['steps', 'executor'], 'host');
    await client.putProject(project, document.toString({ lineWidth: 0 }));
  }, 600_000);

  test("proved the backup before it, with the client of the server's own version", async () => {
    const { steps } = await client.readDeployment({ project, environment: 'staging', number: 1 });
    expect(steps).toContainEqual(
      expect.objectContaining({
        name: 'back up',
        verdict: 'passed',
        detail: expect.stringMatching(/^\d+ bytes, proved by a restore in /),
      }),
    );
    const file = join(installation.stateFolder, 'blobs/backups', project, 'staging/1/database.json');
    const { tool, serverVersion } = JSON.parse(readFileSync(file, 'utf8')) as { tool: string; serverVersion: string };
    expect(serverVersion).toMatch(new RegExp(`^${String(serverMajor)}\\.`));
    expect(tool).toMatch(new RegExp(`^pg_dump \\(PostgreSQL\\) ${String(serverMajor)}\\.`));
    // Another one, newer and on PATH by Debian's wrapper, was there to be taken by mistake.
    const there = await installation.compose('exec', '--no-TTY', 'worker', 'ls', '/usr/lib/postgresql');
    expect(there.trim().split('\n')).toEqual([...new Set([String(serverMajor), '17'])].sort());
  });

  test('loses nothing of a run that goes on while worker, Temporal and everything else are restarted', async () => {
    const before = await answer();
    const slipway = await repository.read('slipway.yaml');
    const held = slipway.replace(/^version: 1\n+stages:\n[^]*?(?=^images:\n)/m, heldStages);
    expect(held).toContain('executor: host');
    const run = await push('The second', { 'slipway.yaml': held });
    const first = await stage.file('held');
    await stage.runsAlone(first);

    // Told to end, the worker hands the step on; killed, it takes nothing of it along that would go on beside the next attempt.
    await installation.compose('restart', 'worker');
    const second = await stage.file('held', [first.text]);
    await stage.runsAlone(second);

    const killed = await installation.container('worker');
    process.kill(killed.State.Pid, 'SIGKILL');
    const third = await stage.file('held', [first.text, second.text]);
    await stage.runsAlone(third);
    expect((await installation.container('worker')).RestartCount).toBe(killed.RestartCount + 1);

    await installation.compose('restart', 'temporal');
    await whole();
    expect(await answer()).toEqual(before);
    expect(await client.readRun(run)).toMatchObject({ outcome: null });

    await installation.compose('down');
    expect(await installation.services()).toEqual([]);
    // Nothing of Slipway is there any more, and what was deployed serves.
    expect(await Promise.any(slots.map((port) => answer(`http://127.0.0.1:${String(port)}`)))).toEqual(before);
    expect(await stage.containers()).toEqual([]);
    const seen = (await stage.files('held')).map(({ text }) => text);

    await installation.compose('up', '--detach');
    await whole();
    expect(await until(answer, { what: 'an answer through the router' })).toEqual(before);
    expect(await client.readRun(run)).toMatchObject({ outcome: null });
    const last = await stage.file('held', [first.text, second.text, third.text, ...seen]);
    await stage.runsAlone(last);
    writeFileSync(join(last.folder, 'go'), '');

    const { folder, text } = await stage.file('namespace');
    const worker = await installation.container('worker');
    expect(text).toMatch(/^pid:\[\d+\]$/);
    expect(text).not.toBe(readlinkSync(`/proc/${String(worker.State.Pid)}/ns/pid`));
    // In a session of its own, and nothing that the step waits for; it ends with the step all the same.
    await until(() => stage.daemons().length === 1, { what: 'the daemon of the step on the host' });
    writeFileSync(join(folder, 'go-on'), '');

    const { version } = await deployed(run);
    expect(await answer()).toMatchObject({ version });
    expect(version).not.toBe(before.version);
    expect(stage.daemons()).toEqual([]);
    // The token of before, the project, both runs and both deployments.
    const [runs, deployments] = await Promise.all([
      client.listRuns({ project, limit: 10 }),
      client.listDeployments({ project, environment: 'staging', limit: 10 }),
    ]);
    expect(runs.items.map(({ number, outcome }) => [number, outcome])).toEqual([
      [2, 'succeeded'],
      [1, 'succeeded'],
    ]);
    expect(deployments.items.map(({ number, outcome }) => [number, outcome])).toEqual([
      [2, 'succeeded'],
      [1, 'succeeded'],
    ]);
  }, 900_000);

  test('leaves files and sockets that only their owner can change', () => {
    const open: string[] = [];
    const look = (folder: string): void => {
      for (const name of readdirSync(folder)) {
        const path = join(folder, name);
        const { uid, mode } = lstatSync(path);
        const link = lstatSync(path).isSymbolicLink();
        if (uid !== 0 || (!link && (mode & 0o002) !== 0)) open.push(`${path} ${String(uid)} ${mode.toString(8)}`);
        if (lstatSync(path).isDirectory()) look(path);
      }
    };
    look(installation.stateFolder);
    expect(open).toEqual([]);
    for (const name of ['master.sock', 'stats.sock']) {
      const { mode } = lstatSync(join(installation.stateFolder, 'router', name));
      expect((mode & 0o777).toString(8)).toBe('600');
    }
  });

  test('shows a secret in those containers only that use it, and in no log', async () => {
    const all = await installation.services();
    const shown: Record<string, string[]> = {};
    for (const { name } of all) {
      const id = (await installation.compose('ps', '--all', '--quiet', name)).trim();
      const text =
        JSON.stringify(await installation.engine.getContainer(id).inspect()) + (await installation.log(name));
      shown[name] = Object.entries({ ...installation.secrets, token })
        .filter(([, value]) => text.includes(value))
        .map(([secret]) => secret);
    }
    expect(shown).toEqual({
      api: ['store', 'installation'],
      worker: ['store', 'installation'],
      store: ['store'],
      temporal: ['temporal'],
      'temporal-postgresql': ['temporal'],
      'temporal-schema': ['temporal'],
      ...{ registry: [], router: [], 'router-files': [], 'temporal-namespace': [], 'temporal-ui': [] },
    });
    const { Config } = await installation.engine.getImage((await installation.container('api')).Image).inspect();
    expect(JSON.stringify(Config)).not.toContain(installation.secrets.store);
  }, 120_000);

  test('leaves no process behind that has ended', async () => {
    const { State } = await installation.container('worker');
    const own = readlinkSync(`/proc/${String(State.Pid)}/ns/pid`);
    const dead = readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .filter((pid) => {
        try {
          return (
            readlinkSync(`/proc/${pid}/ns/pid`) === own &&
            /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
          );
        } catch {
          return false;
        }
      });
    expect(dead).toEqual([]);
  });
});
