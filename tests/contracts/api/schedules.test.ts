import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { ScheduleNotFoundError } from '@temporalio/client';
import { createScheduledRunActivities } from '../../../src/activities/scheduled-runs.ts';
import { createGitRepository } from '../../../src/providers/repositories/git.ts';
import { readRun } from '../../../src/store/runs.ts';
import { type TestApi, projectYaml, startTestApi } from '../../support/api.ts';
import { createGitOrigin } from '../../support/git-origin.ts';
import { activityEnvironment } from '../../support/run-fixture.ts';
import { until } from '../../support/until.ts';

// Temporal keeps schedules between two runs of the tests.
const name = `nightly-${randomUUID().slice(0, 8)}`;
const two = `schedules:
  - { name: data-quality, cron: '0 6 * * *', timeZone: UTC, catchUp: 2h, parameters: { RUN_TESTS: false } }
  - { name: scan, cron: '30 2 * * mon-fri', branch: develop }
calendar: { timeZone: Europe/Berlin }
`;

let api: TestApi;
let admin: string;
beforeAll(async () => {
  api = await startTestApi();
  admin = await api.token('admin');
  await api.app.ready();
}, 60_000);
afterAll(async () => {
  await put('upkeep:\n  audit: { enabled: false }\n').catch(() => undefined);
  await api.close();
});

async function put(more: string): Promise<number> {
  const response = await api.app.inject({
    method: 'PUT',
    url: `/v1/projects/${name}`,
    headers: { authorization: `Bearer ${admin}` },
    payload: { text: projectYaml(name, more) },
  });
  return response.statusCode;
}

const handle = (schedule: string) => api.temporal.schedule.getHandle(`schedule/${name}/${schedule}`);

test('a document that is put in force has its schedules in Temporal, in their time zone, with their window', async () => {
  expect(await put(two)).toBe(200);
  const quality = await until(async () => await handle('data-quality').describe());
  expect(quality).toMatchObject({
    spec: { timezone: 'UTC' },
    policies: { catchupWindow: 7_200_000, overlap: 'SKIP' },
    action: { workflowType: 'startScheduledRun', args: [{ project: name, schedule: 'data-quality' }] },
  });
  const next = quality.info.nextActionTimes[0];
  expect([next?.getUTCHours(), next?.getUTCMinutes()]).toEqual([6, 0]);
  const scan = await until(async () => await handle('scan').describe());
  expect(scan.spec.timezone).toBe('Europe/Berlin');
}, 30_000);

test('one that somebody paused stays paused when it is changed, and one that is gone is deleted', async () => {
  await handle('data-quality').pause('the source is being moved');
  // The list of the server lags behind; what is not in it yet is deleted with the next document.
  await until(async () => {
    for await (const { scheduleId } of api.temporal.schedule.list())
      if (scheduleId.endsWith(`${name}/scan`)) return true;
    throw new Error('not listed yet');
  });
  expect(await put(`schedules:\n  - { name: data-quality, cron: '15 7 * * *' }\n`)).toBe(200);
  const changed = await until(async () => {
    const described = await handle('data-quality').describe();
    if (described.info.nextActionTimes[0]?.getUTCMinutes() !== 15) throw new Error('not changed yet');
    return described;
  });
  expect(changed.state).toMatchObject({ paused: true, note: 'the source is being moved' });
  await until(async () => {
    const gone = await handle('scan')
      .describe()
      .then(() => false)
      .catch((error: unknown) => error instanceof ScheduleNotFoundError);
    if (!gone) throw new Error('still there');
    return true;
  });
}, 60_000);

test('upkeep of a project has its schedules too: an audit always, a scan where there is a scanner', async () => {
  const upkeep = (kind: string) => api.temporal.schedule.getHandle(`project-upkeep/${name}/${kind}`);
  const scanner = 'images:\n  scan: { scanner: osv-scanner, database: /var/lib/osv, mode: warn, maxAge: 48h }\n';
  expect(await put(`${scanner}upkeep:\n  scan: { cron: '15 3 * * *', timeZone: Europe/Berlin, catchUp: 6h }\n`)).toBe(
    200,
  );
  const scan = await until(async () => await upkeep('scan').describe());
  expect(scan).toMatchObject({
    spec: { timezone: 'Europe/Berlin' },
    policies: { catchupWindow: 21_600_000, overlap: 'SKIP' },
    action: { workflowType: 'scanLive', args: [{ project: name }] },
  });
  const audit = await until(async () => await upkeep('audit').describe());
  expect(audit).toMatchObject({ spec: { timezone: 'UTC' }, action: { workflowType: 'reportAudit' } });
  expect(audit.info.nextActionTimes[0]?.getUTCDate()).toBe(1);
  // Without a scanner there is nothing to scan with.
  expect(await put('upkeep:\n  audit: { enabled: false }\n')).toBe(200);
  await until(async () => {
    const gone = await Promise.all(
      ['scan', 'audit'].map((kind) =>
        upkeep(kind)
          .describe()
          .then(() => false)
          .catch((error: unknown) => error instanceof ScheduleNotFoundError),
      ),
    );
    if (gone.includes(false)) throw new Error('still there');
    return true;
  });
}, 60_000);

test.each(['* * *', 'daily', '0 6 * * * *', '0 6 * * $(x)'])('%j is no time', async (cron) => {
  expect(await put(`schedules:\n  - { name: x, cron: '${cron}' }\n`)).toBe(422);
});

test('an occasion is one run of the newest commit, checks only, and none of a schedule that is gone', async () => {
  const origin = createGitOrigin();
  const folder = mkdtempSync(join(tmpdir(), 'slipway-scheduled-'));
  try {
    const commit = origin.commit({ 'a.txt': '1\n' });
    await put(two.replace('branch: develop', 'branch: main'));
    const activities = createScheduledRunActivities({
      store: api.store,
      repositories: {
        resolveRef: async (_address, ref, signal) =>
          await createGitRepository({ folder }).resolveRef(
            { project: name, url: `file://${origin.path}` },
            ref,
            signal,
          ),
      },
      readSecret: () => Promise.resolve(''),
    });
    const accept = async (schedule: string, occasion: string): Promise<number | null> =>
      await activityEnvironment().run<[], number | null, () => Promise<number | null>>(() =>
        activities.acceptScheduledRun({ project: name, schedule, occasion }),
      );
    const first = await accept('data-quality', 'schedule/x-2026-11-25T06:00:00Z');
    expect(await accept('data-quality', 'schedule/x-2026-11-25T06:00:00Z')).toBe(first);
    expect(await accept('data-quality', 'schedule/x-2026-11-26T06:00:00Z')).not.toBe(first);
    expect(await readRun(api.store.db, name, first ?? 0)).toMatchObject({
      commit,
      kind: 'schedule',
      author: 'schedule data-quality',
      input: { checksOnly: true, parameters: { RUN_TESTS: 'false' } },
    });
    expect(await accept('gone', 'schedule/x')).toBeNull();
  } finally {
    origin.remove();
    rmSync(folder, { recursive: true, force: true });
  }
});
