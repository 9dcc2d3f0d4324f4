import { createHash, createHmac, randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import type { FastifyInstance, LightMyRequestResponse } from 'fastify';
import { buildApp } from '../../src/api/app.ts';
import type { ApiDependencies, ApiSettings } from '../../src/api/dependencies.ts';
import { type LogFiles, createLogFolder } from '../../src/effects/log-files.ts';
import { createFolderBlobs } from '../../src/providers/blobs/folder.ts';
import { ProviderError } from '../../src/domain/failures.ts';
import type { BlobStore } from '../../src/providers/blobs/port.ts';
import type { ForgeKind } from '../../src/providers/forges/index.ts';
import { putProject } from '../../src/store/projects.ts';
import type { Role } from '../../src/store/tables/engine.ts';
import { createToken } from '../../src/store/tokens.ts';
import { components } from './components.ts';
import { testProofs } from './proofs.ts';
import { type TestStore, temporaryStore } from './store.ts';

export const webhookSecret = 'a secret of the webhook';
/** Of projects whose forge is `generic`, in the form that the standard has. */
export const signingToken = `whsec_${Buffer.from('a signing token of thirty-two by').toString('base64')}`;

/** The API with a store of its own, on the real server and the real Temporal. */
export interface TestApi {
  readonly app: FastifyInstance;
  readonly store: TestStore;
  readonly temporal: Client;
  readonly logs: LogFiles;
  readonly blobs: BlobStore;
  /** Where the workflows of this file run; nobody polls it unless the test does. */
  readonly taskQueue: string;
  addProject(name: string, more?: string, forge?: ForgeKind): Promise<void>;
  token(role: Role, groups?: readonly string[], name?: string): Promise<string>;
  /** Another process of the same API. */
  another(settings?: Partial<ApiSettings>): Promise<FastifyInstance>;
  close(): Promise<void>;
}

const secrets: Readonly<Record<string, string>> = { NEXT: 'the next secret', TOKEN: signingToken };

/** Name of a variable that no process has. */
export const absentSecret = 'ABSENT_HOOK';

export async function startTestApi(
  settings: Partial<ApiSettings> = {},
  resolveRef?: NonNullable<ApiDependencies['resolveRef']>,
): Promise<TestApi> {
  const [{ temporal: server }, store, folder] = await Promise.all([
    components('temporal'),
    temporaryStore({ poolSize: 10 }),
    mkdtemp(join(tmpdir(), 'slipway-api-')),
  ]);
  const connection = await Connection.connect({ address: server.address });
  const temporal = new Client({ connection, namespace: server.namespace });
  const taskQueue = `api-${randomUUID()}`;
  const logs = createLogFolder(folder);
  const blobs = createFolderBlobs({ folder: join(folder, 'blobs') });
  const dependencies = (over: Partial<ApiSettings>): ApiDependencies => ({
    store,
    temporal,
    logs,
    blobs,
    readSecret: async (ref) => {
      const name = ref.kind === 'env' ? ref.name : '';
      if (name === absentSecret) throw new ProviderError('SecretMissing', `Variable ${name} is not set.`);
      return await Promise.resolve(secrets[name] ?? webhookSecret);
    },
    proofs: testProofs,
    ...(resolveRef === undefined ? {} : { resolveRef }),
    installationKey: 'the key of this installation',
    settings: { taskQueue, sweepMs: 0, ...settings, ...over },
  });
  const apps = [await buildApp(dependencies({}))];
  return {
    app: apps[0]!,
    store,
    temporal,
    logs,
    blobs,
    taskQueue,
    async addProject(name, more = '', forge = 'github') {
      const text = projectYaml(name, more, forge);
      await putProject(store.db, {
        name,
        text,
        hash: createHash('sha256').update(text).digest('hex'),
        diff: '',
        by: 'ada',
      });
    },
    token: async (role, groups = [], name = role) =>
      (await createToken(store.db, { name, role, groups, createdBy: 'test' })).token,
    async another(over = {}) {
      const app = await buildApp(dependencies(over));
      apps.push(app);
      return app;
    },
    async close() {
      await Promise.all(apps.map((app) => app.close()));
      await connection.close();
      await store.drop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** The smallest project with two environments. */
export function projectYaml(name: string, more = '', forge: ForgeKind = 'github'): string {
  const environment = (blue: number): string => `
    target: { kind: docker }
    router:
      kind: haproxy
      listen: { port: ${blue - 1} }
      slots: { blue: ${blue}, green: ${blue + 1} }`;
  return `version: 1
project: ${name}
repository:
  url: https://git.example.com/team/${name}.git
  forge:
    kind: ${forge}
    secrets: [{ env: ${forge === 'generic' ? 'TOKEN' : 'WEBHOOK'} }, { env: NEXT }]
registry:
  address: 127.0.0.1:5000
  insecure: true
environments:
  staging:${environment(20_001)}
  production:${environment(20_011)}
${more}`;
}

export interface DeliveryOptions {
  readonly event?: string;
  readonly id?: string;
  readonly secret?: string;
  readonly signature?: string;
  readonly url?: string;
  readonly contentType?: string;
}

/** A signed delivery, as GitHub sends it. */
export async function deliver(
  app: FastifyInstance,
  project: string,
  body: unknown,
  options: DeliveryOptions = {},
): Promise<LightMyRequestResponse> {
  const payload = typeof body === 'string' ? body : JSON.stringify(body);
  const signature = options.signature ?? sign(payload, options.secret);
  return await app.inject({
    method: 'POST',
    url: options.url ?? `/webhooks/github/${project}`,
    headers: {
      'content-type': options.contentType ?? 'application/json',
      'x-github-event': options.event ?? 'push',
      'x-github-delivery': options.id ?? randomUUID(),
      ...(signature === '' ? {} : { 'x-hub-signature-256': signature }),
    },
    payload,
  });
}

export function sign(payload: string, secret = webhookSecret): string {
  return `sha256=${createHmac('sha256', secret).update(payload).digest('hex')}`;
}

/** The body of a push of a branch or tag. */
export function pushBody(
  number: number,
  over: Readonly<Record<string, unknown>> = {},
): Readonly<Record<string, unknown>> {
  return {
    ref: 'refs/heads/main',
    before: '0'.repeat(40),
    after: number.toString(16).padStart(40, '0'),
    deleted: false,
    head_commit: { message: `change ${number}`, author: { username: 'ada' } },
    pusher: { name: 'ada' },
    sender: { login: 'ada' },
    ...over,
  };
}
