import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { HaproxyRouter, createHaproxyRouter } from '../../../src/providers/routers/haproxy.ts';
import { until } from '../../support/until.ts';
import { type Step, steps } from './change.ts';
import { startTrafficLab, type TrafficLab } from './lab.ts';
import { findLostWrites, findUnexportedWrites, type Scene, type SceneReport, startScene } from './scene.ts';

/** How often each fault is tried at each place; 1 keeps `npm test` short. */
const rounds = Number(process.env['SLIPWAY_TRAFFIC_ROUNDS'] ?? 1);
/** Requests a second, reads and writes: half of it in the short form, which shares its machine with the tests beside it. */
const ratePerS = rounds > 1 ? 800 : 400;
/** After a swap the service's connections are new; its pool takes this long at most. */
const reconnectMs = 1_000;
const before = '1.0.0';
/** Where the change can be interrupted: every step of it but the release that was there before. */
const places = steps.filter((step) => step !== 'first-release');
/** Typical length of a step, ms: a kill comes somewhere within it. */
const typicalMs: Partial<Record<Step, number>> = {
  'take-backup': 400,
  'prove-backup': 800,
  'start-green': 900,
  switch: 150,
  'switch-back': 150,
  swap: 250,
  'stop-green': 400,
  'export-writes': 900,
};

let lab: TrafficLab;
let deployment = 0;

beforeAll(async () => {
  lab = await startTrafficLab();
}, 120_000);

afterAll(async () => {
  await lab.stop();
}, 180_000);

/** A new change under load, from the release before it being live, whatever an earlier test left. */
async function begin(): Promise<{ scene: Scene; to: string }> {
  deployment += 1;
  const to = `1.${deployment}.0`;
  const request = { ...lab.change, deployment, from: before, to, first: 'first-release', last: 'first-release' };
  const first = lab.node('change.ts', request);
  first.stderr?.pipe(process.stderr);
  expect(await new Promise((resolve) => first.once('close', resolve))).toBe(0);
  return { scene: startScene(lab, { deployment, from: before, to }, ratePerS), to };
}

/** The bad release damages the data that it was given, as soon as it is live. */
async function corrupt(): Promise<void> {
  await lab.query('hello', `update items set value = 'damaged' where id like 'seed-1%'`);
}

async function damagedRows(): Promise<number> {
  const [row] = await lab.query<{ n: number }>('hello', `select count(*)::int as n from items where value = 'damaged'`);
  return row?.n ?? -1;
}

async function close(scene: Scene): Promise<SceneReport> {
  const swap = scene.times.get('swap');
  if (swap?.done !== undefined) {
    scene.allow({ from: swap.begun, to: swap.done + reconnectMs, why: 'swap' });
  }
  const report = await scene.end();
  process.stderr.write(
    `deployment ${deployment}: ${report.requests} requests at ${report.ratePerS}/s, excused ${JSON.stringify(report.excused)}, ` +
      `${[...scene.times].map(([step, { begun, done }]) => `${step} ${done === undefined ? '-' : done - begun}`).join(', ')} ms\n`,
  );
  return report;
}

/** What must hold after every way there and back, whatever happened meanwhile. */
async function expectAllIsWell(report: SceneReport): Promise<void> {
  expect(report.wrong).toEqual([]);
  expect(report.acknowledged.length).toBeGreaterThan(0);
  expect(await findLostWrites(lab, report.acknowledged)).toEqual([]);
  expect(await findUnexportedWrites(lab, report.acknowledged)).toEqual([]);
  expect(await damagedRows()).toBe(0);
  expect(await lab.databases()).toContain(`hello_damaged_${deployment}`);
  expect(await lab.databases()).not.toContain(`hello_proof_${deployment}`);
  const containers = await lab.docker.listContainers({ all: true });
  expect(containers.map(({ Names }) => Names[0]).sort()).toEqual([
    `/hello-production-blue-${before}`,
    '/slipway-router',
  ]);
}

async function answeringVersion(): Promise<string | null> {
  const curl = lab.node('ask.ts', { url: `${lab.origin}/health` });
  let text = '';
  curl.stdout?.on('data', (chunk: Buffer) => (text += chunk.toString()));
  await new Promise((resolve) => curl.once('close', resolve));
  return text === '' ? null : text;
}

async function expectRouterAgrees(live: 'blue' | 'green', version: string): Promise<void> {
  const { container, docker, ...paths } = lab.change;
  const router = await createHaproxyRouter(
    HaproxyRouter.parse({
      kind: 'haproxy',
      configFolder: paths.configFolder,
      masterSocket: paths.masterSocket,
      statsSocket: paths.statsSocket,
      container: { name: container, docker },
    }),
  );
  const state = await until(async () => {
    const now = await router.readTraffic({ project: 'hello', environment: 'production' });
    return now.inSync ? now : undefined;
  });
  expect(state.rendered?.servers.find(({ role }) => role === 'live')).toMatchObject({ slot: live, release: version });
  // A live release that could not be reached for a moment has the backup answer until the next check.
  await until(async () => (await answeringVersion()) === version, { what: `an answer of ${version}` });
}

describe('a change and its way back under load', () => {
  test('loses no request, but for the moment of the swap', async () => {
    const { scene, to } = await begin();
    await scene.drive('take-backup', 'switch');
    await expectRouterAgrees('green', to);
    await corrupt();
    await scene.drive('switch-back', 'export-writes');
    const report = await close(scene);
    await expectAllIsWell(report);
    await expectRouterAgrees('blue', before);
  }, 120_000);

  test(
    'the driver is killed in every step, and another one goes on',
    async () => {
      for (let round = 0; round < rounds; round += 1) {
        const { scene } = await begin();
        for (const place of places) {
          const afterMs = Math.random() * (typicalMs[place] ?? 300);
          if (place === 'switch-back') await corrupt();
          await scene.drive(place, place, { at: place, afterMs });
        }
        const report = await close(scene);
        await expectAllIsWell(report);
      }
    },
    90_000 * rounds,
  );

  test(
    'the router is killed at every boundary',
    async () => {
      for (let round = 0; round < rounds; round += 1) {
        const { scene, to } = await begin();
        for (const place of places) {
          if (place === 'switch-back') await corrupt();
          await scene.drive(place, place);
          if (rounds === 1 && !(['start-green', 'switch', 'switch-back'] as Step[]).includes(place)) continue;
          const switched = place === 'switch';
          if (rounds > 1) await lab.untilRouterLasts();
          await scene.disturb('router killed', async () => {
            await lab.killRouter();
            await expectRouterAgrees(switched ? 'green' : 'blue', switched ? to : before);
          });
        }
        await expectAllIsWell(await close(scene));
      }
    },
    240_000 * rounds,
  );

  test(
    'the router is killed while traffic is being moved, there and back',
    async () => {
      for (let round = 0; round < rounds; round += 1) {
        const { scene, to } = await begin();
        await scene.drive('take-backup', 'start-green');
        for (const [step, slot, version] of [
          ['switch', 'green', to],
          ['switch-back', 'blue', before],
        ] as const) {
          if (step === 'switch-back') await corrupt();
          if (rounds > 1) await lab.untilRouterLasts();
          const moving = scene.drive(step, step);
          await until(() => scene.times.has(step));
          await scene.disturb('router killed', async () => {
            await lab.killRouter();
            await moving;
            await expectRouterAgrees(slot, version);
          });
        }
        await scene.drive('swap', 'export-writes');
        await expectAllIsWell(await close(scene));
      }
    },
    120_000 * rounds,
  );

  test(
    'the engine is restarted or killed at boundaries',
    async () => {
      for (let round = 0; round < rounds; round += 1) {
        const { scene, to } = await begin();
        for (const place of places) {
          if (place === 'switch-back') await corrupt();
          await scene.drive(place, place);
          if (rounds === 1 && !(['switch', 'switch-back'] as Step[]).includes(place)) continue;
          const switched = place === 'switch';
          await scene.disturb('engine restarted', async () => {
            await lab.restartEngine(switched ? 'SIGKILL' : 'SIGTERM');
            await expectRouterAgrees(switched ? 'green' : 'blue', switched ? to : before);
          });
        }
        await expectAllIsWell(await close(scene));
      }
    },
    120_000 * rounds,
  );

  test(
    'green dies while nobody watches: blue takes over, and gives back',
    async () => {
      for (let round = 0; round < rounds; round += 1) {
        const { scene, to } = await begin();
        await scene.drive('take-backup', 'switch');
        const container = lab.docker.getContainer(`hello-production-green-${to}`);
        const { State } = await container.inspect();
        await scene.disturb('green killed', async () => {
          process.kill(State.Pid, 'SIGKILL');
          await until(
            () => scene.answers.slice(-200).some(({ version, status }) => version === before && status < 300),
            {
              what: 'an answer of blue',
            },
          );
          await until(async () => (await answeringVersion()) === to, { what: 'green again' });
        });
        await corrupt();
        await scene.drive('switch-back', 'export-writes');
        const report = await close(scene);
        // A request that is answered by the previous release is right: it is why that release is kept as a backup.
        const failed = scene.answers.filter(({ status }) => status === 0 || status >= 500);
        const swap = scene.times.get('swap');
        const lost = failed.filter(({ endedAt }) => swap === undefined || endedAt < swap.begun);
        process.stderr.write(`green killed: ${lost.length} of ${report.requests} requests failed\n`);
        expect(lost.length).toBeLessThan(ratePerS / 5);
        await expectAllIsWell(report);
      }
    },
    120_000 * rounds,
  );
});
