import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { WorkflowHandle } from '@temporalio/client';
import { ApplicationFailure, defaultPayloadConverter } from '@temporalio/common';
import type { temporal } from '@temporalio/proto';
import type { Notice } from '../../src/activities/contracts.ts';
import { rollbackId } from '../../src/workflows/messages.ts';
import { broken, quietPolicy, watched } from '../support/fake-activities.ts';
import { type WorkflowEnv, createWorkflowEnv } from '../support/workflow-env.ts';
import { type Scenario, createScenario, production } from '../support/workflow-env-scenario.ts';

let env: WorkflowEnv;

beforeAll(async () => {
  env = await createWorkflowEnv();
}, 180_000);

afterAll(() => env.close(), 180_000);

const minuteMs = 60_000;
const ops = { by: 'ops', reason: 'users complain' };

/** A release serves. */
function serving(isProduction = true): Scenario {
  const scenario = createScenario(env);
  scenario.given.live();
  scenario.world.policy = { ...quietPolicy, production: isProduction };
  return scenario;
}

function told({ world }: Scenario, event: Notice['event']): Notice[] {
  return world.notices.filter((notice) => notice.event === event);
}

/** More than an hour of trying. */
const manyTries = 60;

/** No traffic goes to blue before people are told that it takes long, or for more than an hour. */
function refuseBlue(scenario: Scenario): void {
  const { world } = scenario;
  let tries = 0;
  world.on('ensureTraffic', (input) => {
    const waits = told(scenario, 'rollback-slow').length === 0 && tries < manyTries;
    if (waits && input.slot === 'blue') {
      tries += 1;
      throw broken('RouterUnavailable', 'no router', false);
    }
    return env.natural('ensureTraffic')(input as never, world) as never;
  });
}

/** The watch fails at the moment that the server's clock has, which tests before have let run. */
function judgeBad({ world }: Scenario): void {
  world.on('watchRelease', async () => {
    const decidedAt = new Date(await env.server.currentTimeMs()).toISOString();
    return { ...watched('failed', 'bad'), decidedAt };
  });
}

interface Lived {
  /** When the notice went out, by the server's clock, ms. */
  noticeAt(event: Notice['event']): number;
  /** When the first activity of that name was asked for. */
  askedAt(name: string): number;
  /** When the last activity that was asked for under that name ended. */
  endedAt(name: string): number;
}

/** What a workflow did when: the clock of the server may run on a little after it was let run. */
async function livedBy(handle: WorkflowHandle): Promise<Lived> {
  const { events } = await handle.fetchHistory();
  const history = events ?? [];
  const msOf = ({ eventTime }: temporal.api.history.v1.IHistoryEvent): number =>
    Number(eventTime?.seconds ?? 0) * 1_000 + (eventTime?.nanos ?? 0) / 1e6;
  const asked = history.flatMap((event) => {
    const { activityTaskScheduledEventAttributes: scheduled } = event;
    return scheduled === undefined || scheduled === null ? [] : [{ event, scheduled }];
  });
  const named = (name: string): typeof asked => asked.filter(({ scheduled }) => scheduled.activityType?.name === name);
  const found = (event: temporal.api.history.v1.IHistoryEvent | undefined, what: string): number => {
    if (event === undefined) throw new Error(`there is no ${what} in its history`);
    return msOf(event);
  };
  return {
    noticeAt: (wanted) =>
      found(
        named('sendNotice').find(({ scheduled }) => {
          const [payload] = scheduled.input?.payloads ?? [];
          return payload !== undefined && defaultPayloadConverter.fromPayload<Notice>(payload).event === wanted;
        })?.event,
        `notice ${wanted}`,
      ),
    askedAt: (name) => found(named(name)[0]?.event, name),
    endedAt: (name) => {
      const last = named(name).at(-1)?.event.eventId;
      const ended = history.find(
        ({ activityTaskCompletedEventAttributes: done, activityTaskFailedEventAttributes: failed }) =>
          last !== undefined && (done?.scheduledEventId ?? failed?.scheduledEventId)?.toString() === last?.toString(),
      );
      return found(ended, `end of ${name}`);
    },
  };
}

/** A second either way: it is the clock of the workflow's tasks. */
function expectBetween(ms: number, from: number, to: number): void {
  expect(ms).toBeGreaterThanOrEqual(from - 1_000);
  expect(ms).toBeLessThan(to);
}

describe('a rollback of more than twelve minutes', () => {
  test.each([
    ['production', true, 'critical'],
    ['an environment that wakes nobody', false, 'error'],
  ] as const)('of a roll-out is told once, while it goes on: %s', async (_, isProduction, level) => {
    const scenario = serving(isProduction);
    const { world, when } = scenario;
    refuseBlue(scenario);
    judgeBad(scenario);
    const deployment = await when.deploy();
    expect(await deployment.resultInTime()).toMatchObject({ outcome: 'rolled-back' });
    expect(told(scenario, 'rollback-slow')).toMatchObject([
      { level, title: `${world.project} production: the rollback is not over after 12 min` },
    ]);
    const lived = await livedBy(deployment.rollOut);
    const decidedAt = lived.endedAt('watchRelease');
    expectBetween(lived.noticeAt('rollback-slow') - decidedAt, 12 * minuteMs, 13 * minuteMs);
    expect(lived.noticeAt('rollback-slow')).toBeLessThan(lived.endedAt('ensureReleaseStopped'));
  });

  test('is told where it waits for the store', async () => {
    const scenario = serving();
    const { world, when } = scenario;
    judgeBad(scenario);
    world.on('ensureReleaseStopped', () => {
      throw broken('StoreUnavailable', 'no store');
    });
    const deployment = await when.deploy();
    expect(await deployment.resultInTime()).toMatchObject({ outcome: 'rollback-failed' });
    const lived = await livedBy(deployment.rollOut);
    const since = lived.noticeAt('rollback-slow') - lived.endedAt('watchRelease');
    expectBetween(since, 12 * minuteMs, 13 * minuteMs);
    expect(lived.noticeAt('rollback-slow')).toBeLessThan(lived.endedAt('ensureReleaseStopped'));
  });

  test('that a person asked for is told once, while it goes on', async () => {
    const scenario = serving();
    const { world, when, then } = scenario;
    await (await when.deploy()).result();
    refuseBlue(scenario);
    const { number } = await when.ask<{ number: number }>('rollback', ops);
    const handle = env.client.workflow.getHandle(
      rollbackId({ project: world.project, environment: production, number }),
    );
    await env.until(() => told(scenario, 'undo-keeps-failing').length > 0, 'the move to keep failing');
    await env.skip(20 * minuteMs);
    await then.environmentIs((view) => view.live?.version === '0.9.0' && view.current === null, 'it to be done');
    expect(told(scenario, 'rollback-slow')).toMatchObject([
      { level: 'critical', lines: expect.arrayContaining([`slipway status ${world.project}/production/${number}`]) },
    ]);
    const lived = await livedBy(handle);
    const since = lived.noticeAt('rollback-slow') - lived.askedAt('ensureTraffic');
    expectBetween(since, 12 * minuteMs, 13 * minuteMs);
  });
});

describe('a start of more than five minutes', () => {
  /** It breaks off, is tried again six minutes later, and then it works. */
  function breakOff({ world }: Scenario): void {
    let calls = 0;
    world.on('ensureReleaseRunning', (input) => {
      calls += 1;
      if (calls > 1) return env.natural('ensureReleaseRunning')(input as never, world) as never;
      const again = { type: 'EngineUnavailable', message: 'the engine starts', nextRetryDelay: '6 minutes' } as const;
      throw ApplicationFailure.create(again);
    });
  }

  test('is told once, while it is waited for, and is no failure', async () => {
    const scenario = serving();
    const { world, when } = scenario;
    breakOff(scenario);
    const deployment = await when.deploy();
    expect(await deployment.resultInTime()).toMatchObject({ outcome: 'succeeded' });
    expect(told(scenario, 'start-slow')).toMatchObject([
      { level: 'warning', title: `${world.project} production: 1.0.1 has been starting for 5 min` },
    ]);
    const lived = await livedBy(deployment.rollOut);
    const since = lived.noticeAt('start-slow') - lived.askedAt('ensureReleaseRunning');
    expectBetween(since, 5 * minuteMs, 6 * minuteMs);
    expect(lived.noticeAt('start-slow')).toBeLessThan(lived.endedAt('ensureReleaseRunning'));
  });

  test('is told of a release that a person goes back to', async () => {
    const scenario = serving();
    const { when, then } = scenario;
    await (await when.deploy()).result();
    breakOff(scenario);
    await when.ask('rollback', { ...ops, to: '0.7.0' });
    await then.called('ensureReleaseRunning', 2);
    await env.skip(7 * minuteMs);
    await then.environmentIs((view) => view.live?.version === '0.7.0' && view.current === null, 'it to be done');
    expect(told(scenario, 'start-slow')).toHaveLength(1);
  });
});
