import { createServer, type Server } from 'node:http';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Client, Connection } from '@temporalio/client';
import { temporal } from '@temporalio/proto';
import pg from 'pg';
import { components } from '../support/components.ts';
import { type InstallationStory, quickDefinition, startInstallationStory } from '../support/installation-story.ts';

/** Characters that every encoding writes in another way. */
const secretOf = (name: string): string => `pl4nted/${name}+${crypto.randomUUID()} ü=`;

/** What the installation is told and nobody may find anywhere again. */
const planted = {
  step: secretOf('step'),
  registry: secretOf('registry'),
  webhook: secretOf('webhook'),
  database: secretOf('database'),
  channel: `hook-${crypto.randomUUID()}`,
  /** Of a service's own, which no secret of the installation names: a password in a URL is none to be repeated all the same. */
  foreign: `foreign-${crypto.randomUUID()}`,
};

/** As code that has it nowhere as it is: the repository is looked through as well. */
const foreignUrl = `'redis://:' + Buffer.from('${Buffer.from(planted.foreign).toString('hex')}', 'hex') + '@cache'`;

/** Not a secret: where this is not found, nobody has looked. */
const seen = `visible-${crypto.randomUUID()}`;

/** Prints the secret as people do when they look for a mistake, and fails with it. */
const leaky = `stages:
  - name: leak
    steps:
      - name: print
        secrets: [STEP_SECRET]
        run:
          - node
          - -e
          - |
            const secret = process.env.STEP_SECRET;
            console.log('${seen} plain', secret);
            console.log('base64', Buffer.from(secret).toString('base64'), Buffer.from('user:' + secret).toString('base64'));
            console.log('url', encodeURIComponent(secret), 'json', JSON.stringify({ secret }));
            console.error('giving up with', secret);
            process.exit(LEAK);

images:
`;

const role = `story_secrets_${String(process.pid)}`;

let story: InstallationStory;
let people: Server;
let client: Client;
let connection: Connection;
const notices: string[] = [];

function definition(exit: 0 | 1): string {
  return quickDefinition().replace(/^stages:\n[^]*?^images:\n/m, leaky.replace('LEAK', String(exit)));
}

beforeAll(async () => {
  people = createServer((request, response) => {
    void text(request).then((body) => {
      notices.push(body);
      response.end('ok');
    });
  });
  await new Promise<void>((resolve) => people.listen(0, '127.0.0.1', resolve));
  const { port } = people.address() as AddressInfo;
  story = await startInstallationStory({
    name: 'secrets',
    files: { 'slipway.yaml': definition(0) },
    webhookSecret: planted.webhook,
  });
  const secret = (name: string, value: string): { file: string } => {
    const file = join(story.context.stateFolder, 'secrets', name);
    writeFileSync(file, `${value}\n`, { mode: 0o600 });
    return { file };
  };
  await useDatabasePassword();
  await story.setProject((document) => {
    document.setIn(['steps', 'secrets', 'STEP_SECRET'], secret('step', planted.step));
    document.setIn(['registry', 'credentials'], { username: 'ci', password: secret('registry', planted.registry) });
    document.setIn(
      ['notifications'],
      [
        { kind: 'log', level: 'info' },
        { kind: 'slack', level: 'info', url: secret('channel', `http://127.0.0.1:${String(port)}/${planted.channel}`) },
      ],
    );
    document.setIn(['environments', 'staging', 'limits', 'ready'], '5s');
    document.setIn(['environments', 'staging', 'watch', 'duration'], '2s');
  });
  connection = await Connection.connect({ address: story.own.temporal.address });
  client = new Client({ connection, namespace: story.own.temporal.namespace });
}, 300_000);

afterAll(async () => {
  await connection.close();
  await story.close();
  await withServer(`DROP ROLE IF EXISTS ${role}`);
  people.close();
}, 60_000);

const minutes = 60_000;

async function withServer(statement: string): Promise<void> {
  const { applicationPostgres } = await components('applicationPostgres');
  const server = new pg.Client({ connectionString: applicationPostgres.url });
  await server.connect();
  try {
    await server.query(statement);
  } finally {
    await server.end();
  }
}

/** From here on the databases are reached by a password that is looked for, in place of that of the tests' server. */
async function useDatabasePassword(): Promise<void> {
  await withServer(`CREATE ROLE ${role} LOGIN SUPERUSER PASSWORD '${planted.database}'`);
  for (const site of Object.values(story.sites)) {
    for (const file of [site.databaseUrlFile, site.serviceDatabaseUrlFile]) {
      const url = new URL(readFileSync(file, 'utf8').trim());
      url.username = role;
      url.password = encodeURIComponent(planted.database);
      writeFileSync(file, `${url.href}\n`, { mode: 0o600 });
    }
  }
}

/** Each form in which a secret could lie about. */
function formsOf(secret: string): readonly string[] {
  const bytes = Buffer.from(secret);
  return [
    secret,
    encodeURIComponent(secret),
    JSON.stringify(secret).slice(1, -1),
    bytes.toString('base64'),
    bytes.toString('base64url'),
    // As the second half of `user:password`.
    Buffer.from(`user:${secret}`).toString('base64').slice(8, -4),
  ];
}

interface Found {
  readonly place: string;
  readonly name: string;
}

function look(place: string, content: Buffer): readonly Found[] {
  return Object.entries(planted)
    .filter(([, secret]) => formsOf(secret).some((form) => content.includes(form)))
    .map(([name]) => ({ place, name }));
}

/** Every history as the server keeps it: payloads, summaries, memos and failures are plain bytes in it. */
async function histories(): Promise<ReadonlyMap<string, Buffer>> {
  const found = new Map<string, Buffer>();
  for await (const { workflowId, runId } of client.workflow.list()) {
    const history = await client.workflow.getHandle(workflowId, runId).fetchHistory();
    found.set(workflowId, Buffer.from(temporal.api.history.v1.History.encode(history).finish()));
  }
  return found;
}

/** Every row of every table of the store. */
async function rows(): Promise<ReadonlyMap<string, Buffer>> {
  const store = new pg.Client({ connectionString: story.own.store.url });
  await store.connect();
  try {
    const found = new Map<string, Buffer>();
    const tables = await store.query<{ name: string }>(
      `SELECT quote_ident(tablename) AS name FROM pg_tables WHERE schemaname = 'public'`,
    );
    for (const { name } of tables.rows) {
      const content = await store.query<{ row: string }>(`SELECT each::text AS row FROM ${name} each`);
      found.set(name, Buffer.from(content.rows.map(({ row }) => row).join('\n')));
    }
    return found;
  } finally {
    await store.end();
  }
}

/** Every file of the installation (logs, blobs, spool, checkouts, Temporal's own file), but those that the secrets are kept in. */
function files(): ReadonlyMap<string, Buffer> {
  const root = story.context.stateFolder;
  const found = new Map<string, Buffer>();
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const inside = path.slice(root.length + 1);
    if (!entry.isFile() || inside.startsWith('secrets/')) continue;
    try {
      found.set(inside, readFileSync(path));
    } catch (error) {
      // Somebody is at work: what is gone holds nothing.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  return found;
}

function lookThrough(places: ReadonlyMap<string, Buffer>): readonly Found[] {
  return [...places].flatMap(([place, content]) => look(place, content));
}

function names(places: ReadonlyMap<string, Buffer>, words: string): readonly string[] {
  return [...places].filter(([, content]) => content.includes(words)).map(([place]) => place);
}

describe('secrets', () => {
  test(
    'a whole story leaves none of them behind: not in a history, a row, a file, a notice or an answer',
    async () => {
      const main = await story.repository.read('src/main.js');
      // It works, printing what it should not.
      const good = await story.release(`feat: ${seen}`);
      expect(good.outcome).toBe('succeeded');

      // A step that fails with the secret as its last words.
      const failed = await story.endOfRun(
        await story.push({
          branch: 'develop',
          subject: `feat: fails ${seen}`,
          files: { 'slipway.yaml': definition(1) },
        }),
      );
      expect(failed.outcome).toBe('failed');
      expect(JSON.stringify(failed.stages)).toContain('giving up with');

      // A container that says how to get into its database, and never gets healthy.
      const indiscreet = `${main}
console.error('${seen} connects to', process.env.DATABASE_URL);
console.error('with', decodeURIComponent(new URL(process.env.DATABASE_URL).password));
app.server.removeAllListeners('request');
app.server.on('request', (_request, response) => response.writeHead(503).end(process.env.DATABASE_URL));
`;
      const sick = await story.endOf(
        await story.deploymentOf(
          await story.push({
            branch: 'develop',
            subject: `feat: sick ${seen}`,
            files: { 'slipway.yaml': definition(0), 'src/main.js': indiscreet },
          }),
        ),
      );
      expect(sick.outcome).toBe('failed');
      expect(JSON.stringify(sick)).toContain(`${seen} connects to`);

      // One that gets healthy, and tells whoever asks it how to get into its database, the second time across the place where it is cut.
      const talkative = `${main}
const answer = app.server.listeners('request')[0];
let asked = 0;
app.server.removeAllListeners('request');
app.server.on('request', (request, response) => {
  if (request.url === '/health') return answer(request, response);
  asked += 1;
  response.writeHead(500).end('${seen} answers ' + 'x'.repeat(asked % 2 === 0 ? 100 : 0) + process.env.DATABASE_URL + ' ' + ${foreignUrl});
});
`;
      const probed = await story.endOf(
        await story.deploymentOf(
          await story.push({
            branch: 'develop',
            subject: `feat: talkative ${seen}`,
            files: { 'slipway.yaml': definition(0), 'src/main.js': talkative },
          }),
        ),
      );
      expect(probed.outcome).toBe('failed');
      expect(JSON.stringify(probed)).toContain(`${seen} answers`);

      // One that serves, and complains of its database while it is watched.
      const complaining = `${main}
setInterval(() => console.error('FATAL ${seen} cannot connect to', process.env.DATABASE_URL, ${foreignUrl}), 100);
`;
      const watched = await story.endOf(
        await story.deploymentOf(
          await story.push({
            branch: 'develop',
            subject: `feat: complains ${seen}`,
            files: { 'slipway.yaml': definition(0), 'src/main.js': complaining },
          }),
        ),
      );
      expect(watched.outcome).toBe('rolled-back');
      expect(JSON.stringify(watched)).toContain(`FATAL ${seen} cannot connect to ***`);

      // A migration that the database refuses, and a rollback that a person asks for.
      const again = await story.release('fix: well again', { 'src/main.js': main });
      const place = { project: story.project, environment: 'staging' };
      const { number } = await story.operator.rollback(place, { reason: `no good ${seen}` });
      expect((await story.endOf({ ...place, number })).outcome).toBe('rolled-back');

      const [past, stored, kept] = [await histories(), await rows(), files()];
      const told = new Map(notices.map((body, index) => [`notice ${String(index)}`, Buffer.from(body)]));
      const log = await story.operator.readRun({ project: story.project, number: 1 });
      const answers = new Map(
        [good, failed, sick, probed, watched, again, log].map((answer, index) => [
          `answer ${String(index)}`,
          Buffer.from(JSON.stringify(answer)),
        ]),
      );
      // Each of these places was looked at, and holds what is no secret.
      expect(names(past, seen).length).toBeGreaterThanOrEqual(3);
      expect(names(stored, seen)).toEqual(expect.arrayContaining(['runs', 'deployments', 'audit']));
      expect(names(kept, `${seen} plain`).filter((path) => /^(blobs|logs)\//.test(path))).not.toEqual([]);
      expect(names(told, seen).length).toBeGreaterThanOrEqual(3);
      for (const event of ['started', 'health-check-failed', 'rollback-triggered']) {
        expect(names(told, event)).not.toEqual([]);
      }
      expect([past, stored, kept, told, answers].flatMap(lookThrough)).toEqual([]);
    },
    8 * minutes,
  );
});
