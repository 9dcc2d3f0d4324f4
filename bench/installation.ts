import { randomUUID } from 'node:crypto';
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client as Temporal, Connection } from '@temporalio/client';
import { type Client, createClient } from '../src/cli/client.ts';
import { type LocalContext, type LocalOptions, createLocalContext, installationId } from '../src/local/context.ts';
import { connectDocker } from '../src/local/docker.ts';
import { type System, startSystem } from '../src/local/system.ts';
import { type ComponentName, type LocalComponents, down, up } from '../src/local/up.ts';
import type { BenchOptions } from './bench.ts';
import { type Forge, createForge } from './forge.ts';

/** Away from the ports of a person's installation, of the tests and of the demo. */
const preferredPorts = {
  temporal: 21233,
  'temporal-ui': 22233,
  registry: 21050,
  store: 21440,
  'application-postgres': 21540,
  api: 21420,
};

/** Slipway as `slipway up` starts it, with everything behind it real. */
export interface Installation<N extends ComponentName = Always> {
  readonly context: LocalContext;
  readonly components: Pick<LocalComponents, N | Always>;
  readonly system: System;
  readonly client: Client;
  readonly temporal: Temporal;
  /** A file with a secret, for projects to name. */
  secretFile(name: string, value: string): string;
  /** Makes a project of the name, and who tells Slipway of its pushes. */
  addProject(name: string, yaml: (webhookSecretFile: string) => string, connections?: number): Promise<Forge>;
}

const always = ['temporal', 'store', 'docker', 'registry', 'router'] as const;
type Always = (typeof always)[number];

/** What outlives a bench: the images of the engine, and which ports were taken. Everything else would be part of the next one's figures. */
const kept = ['docker', 'run'];

/** Starts an empty installation of the benches' own; what runs on this machine already is used as `slipway up` would use it. */
export async function startInstallation<N extends ComponentName = never>(
  { stateFolder, say, onEnd }: BenchOptions,
  more: readonly N[] = [],
): Promise<Installation<N>> {
  const place = {
    stateFolder,
    preferredPorts,
    onProgress: ({ component, message }: { readonly component: string; readonly message: string }): void =>
      say(`${component}: ${message}`),
  };
  await clear(place, createLocalContext(place));
  const context = createLocalContext(place);
  const want: readonly (N | Always)[] = [...always, ...more];
  const components = await up({ ...place, want });
  onEnd(async () => {
    await removeContainers(components.docker.address);
    await down({ ...place, target: 'end' });
  });
  const system = await startSystem(context, components, {
    apiPort: preferredPorts.api,
  });
  onEnd(() => system.stop());
  const { address, namespace } = components.temporal;
  const connection = await Connection.connect({ address });
  onEnd(() => connection.close());
  const connect = (project: string): Client =>
    createClient({ url: system.url, token: system.token, project, source: 'the bench' });
  const folder = join(context.stateFolder, 'secrets');
  const secretFile = (name: string, value: string): string => {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const file = join(folder, name);
    writeFileSync(file, value, { mode: 0o600 });
    return file;
  };
  return {
    context,
    components,
    system,
    client: connect(''),
    temporal: new Temporal({ connection, namespace }),
    secretFile,
    async addProject(name, yaml, connections) {
      const secret = randomUUID();
      await connect(name).putProject(name, yaml(secretFile(`${name}-webhook`, secret)));
      return createForge({ url: system.url, project: name, secret }, connections);
    },
  };
}

async function clear(place: LocalOptions, context: LocalContext): Promise<void> {
  await down({ ...place, target: 'end' });
  for (const name of readdirSync(context.stateFolder)) {
    if (!kept.includes(name)) rmSync(join(context.stateFolder, name), { recursive: true, force: true });
  }
  // Where another user than root could not enter the state folder, databases lie here.
  rmSync(join('/var/lib/slipway', installationId(context)), { recursive: true, force: true });
}

/** What benches have deployed, on an engine that may be somebody else's. */
async function removeContainers(engine: string): Promise<void> {
  const docker = connectDocker(engine);
  const all = await docker.listContainers({ all: true, filters: JSON.stringify({ label: ['slipway.project'] }) });
  const ours = all.filter(({ Labels }) => Labels['slipway.project']?.startsWith('bench-') === true);
  await Promise.all(ours.map(({ Id }) => docker.getContainer(Id).remove({ force: true, v: true })));
}
