import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import type { ReleaseImage, Slot } from '../../../src/domain/release.ts';
import { PostgresBackup, createPostgresBackup } from '../../../src/providers/backups/postgres.ts';
import { createFolderBlobs } from '../../../src/providers/blobs/folder.ts';
import { HaproxyRouter, createHaproxyRouter } from '../../../src/providers/routers/haproxy.ts';
import type { Route, RouteServer } from '../../../src/providers/routers/port.ts';
import { DockerTarget, createDockerTarget } from '../../../src/providers/targets/docker.ts';

/** What the driver of a change is told. */
export interface ChangeRequest {
  readonly docker: string;
  readonly configFolder: string;
  readonly masterSocket: string;
  readonly statsSocket: string;
  readonly container: string;
  readonly listen: string;
  readonly slots: Readonly<Record<Slot, number>>;
  readonly image: ReleaseImage;
  readonly databaseUrl: string;
  readonly serviceDatabaseUrl: string;
  readonly clientBin: string;
  readonly blobsFolder: string;
  readonly deployment: number;
  readonly from: string;
  readonly to: string;
}

/** The steps of the change, each of which makes a state true and may be repeated. Blue is what was live before. */
export const steps = [
  'first-release',
  'take-backup',
  'prove-backup',
  'start-green',
  'switch',
  'switch-back',
  'swap',
  'stop-green',
  'export-writes',
] as const;
export type Step = (typeof steps)[number];

/**
 * Does the steps from one to another, and says at which it is: `{"step":…,"at":…,"done":…}`, a line before and a line after each. It is
 * killed by the test at any moment and started again with the same words, as activities are.
 */
async function main(request: ChangeRequest & { readonly first: Step; readonly last: Step }): Promise<void> {
  const { configFolder, masterSocket, statsSocket, listen, slots, image, from, to, deployment } = request;
  const ref = { project: 'hello', environment: 'production' } as const;
  const target = await createDockerTarget(DockerTarget.parse({ kind: 'docker', address: request.docker }));
  const router = await createHaproxyRouter(
    HaproxyRouter.parse({
      kind: 'haproxy',
      configFolder,
      masterSocket,
      statsSocket,
      container: { name: request.container, docker: request.docker },
    }),
  );
  const backup = createPostgresBackup(
    PostgresBackup.parse({ kind: 'postgres', url: request.databaseUrl, clientBin: request.clientBin }),
    createFolderBlobs({ folder: request.blobsFolder }),
  );

  function server(slot: Slot, release: string, role: RouteServer['role']): RouteServer {
    return { slot, release, role, weight: 100, address: `127.0.0.1:${slots[slot]}` };
  }
  function route(...servers: RouteServer[]): Route {
    return { ...ref, listen: [listen], healthPath: '/health', servers };
  }
  async function run(slot: Slot, version: string): Promise<void> {
    await target.ensureSlot({
      ...ref,
      slot,
      release: { version, commit: 'c0ffee', images: [image] },
      image,
      deployment,
      env: { DATABASE_URL: request.serviceDatabaseUrl },
      secretEnv: {},
      hostPort: slots[slot],
      containerPort: 8080,
      resources: { memoryBytes: 256 * 1024 * 1024 },
      stopGraceMs: 5_000,
    });
    await target.awaitHealthy({ ...ref, slot }, { timeoutMs: 60_000, path: '/health' });
  }
  async function drain(slot: Slot): Promise<void> {
    const deadline = performance.now() + 10_000;
    while (performance.now() < deadline) {
      const { current, lingering } = await router.readSessions(ref, slot);
      if (current === 0 && lingering === 0) return;
      await delay(50);
    }
  }
  const backupRef = { ...ref, deployment };
  const work: Record<Step, () => Promise<unknown>> = {
    'first-release': async () => {
      await run('blue', from);
      await router.ensureTraffic(route(server('blue', from, 'live')));
    },
    'take-backup': () => backup.ensureTaken(backupRef),
    'prove-backup': async () => backup.ensureProved(await backup.ensureTaken(backupRef)),
    'start-green': () => run('green', to),
    switch: () => router.ensureTraffic(route(server('green', to, 'live'), server('blue', from, 'backup'))),
    'switch-back': () => router.ensureTraffic(route(server('blue', from, 'live'))),
    swap: async () => backup.ensureSwapped(await backup.ensureTaken(backupRef)),
    'stop-green': async () => {
      await drain('green');
      await router.ensureTraffic(route(server('blue', from, 'live')));
      await target.ensureSlotRemoved({ ...ref, slot: 'green' }, { graceMs: 5_000 });
    },
    'export-writes': async () => {
      await backup.ensureLaterWritesExported(await backup.ensureTaken(backupRef));
      await backup.ensureProofDropped(backupRef);
    },
  };

  const say = (step: Step, done: boolean): void =>
    void process.stdout.write(`${JSON.stringify({ step, done, at: Date.now() })}\n`);
  for (const step of steps.slice(steps.indexOf(request.first), steps.indexOf(request.last) + 1)) {
    say(step, false);
    await retried(work[step]);
    say(step, true);
  }
}

/** As a workflow retries an activity: what may pass is tried again, everything else ends it. */
async function retried(work: () => Promise<unknown>): Promise<void> {
  const deadline = performance.now() + 60_000;
  for (;;) {
    try {
      await work();
      return;
    } catch (error) {
      const retryable = (error as { retryable?: boolean }).retryable === true;
      process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
      if (!retryable || performance.now() > deadline) throw error;
      await delay(250);
    }
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  await main(JSON.parse(process.argv[2] ?? '{}') as Parameters<typeof main>[0]);
}
