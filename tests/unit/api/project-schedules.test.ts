import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import type { FastifyBaseLogger } from 'fastify';
import { createScheduleKeeper } from '../../../src/api/project-schedules.ts';
import { loadProject } from '../../../src/definition/load.ts';
import type { ProjectDefinition } from '../../../src/definition/project.ts';
import { projectYaml } from '../../support/api.ts';

beforeEach(() => {
  jest.useFakeTimers();
});
afterEach(() => {
  jest.useRealTimers();
});

function projectWith(schedule: string): ProjectDefinition {
  const text = projectYaml('hello', `schedules:\n  - { name: ${schedule}, cron: '0 6 * * *' }\n`);
  const loaded = loadProject({ file: 'project.yaml', text });
  if (!loaded.ok) throw new Error('the document of the test is not valid');
  return loaded.value;
}

/** A Temporal that makes schedules when it is let, and has nothing else. */
function scene() {
  const made: string[] = [];
  const gates: (() => void)[] = [];
  const schedule = {
    create: async ({ scheduleId }: { readonly scheduleId: string }) => {
      if (scheduleId.startsWith('schedule/')) {
        made.push(scheduleId);
        await new Promise<void>((resolve, reject) => {
          gates.push(scheduleId.endsWith('/bad') ? () => reject(new Error('Temporal is away')) : resolve);
        });
      }
    },
    getHandle: () => ({ delete: () => Promise.resolve() }),
    list: async function* () {},
  };
  const warned: string[] = [];
  const keeper = createScheduleKeeper(
    { store: {}, temporal: { schedule }, settings: { taskQueue: 'q' } } as unknown as Parameters<
      typeof createScheduleKeeper
    >[0],
    { warn: (_: object, what: string) => void warned.push(what) } as unknown as FastifyBaseLogger,
  );
  const letOne = async (): Promise<void> => {
    gates.shift()?.();
    await jest.advanceTimersByTimeAsync(0);
  };
  return { keeper, made, warned, letOne };
}

test('a document that comes while the one before is being put into Temporal follows at once', async () => {
  const { keeper, made, letOne } = scene();
  keeper.keep(projectWith('first'));
  await jest.advanceTimersByTimeAsync(0);
  keeper.keep(projectWith('second'));
  expect(made).toEqual(['schedule/hello/first']);
  await letOne();
  expect(made).toEqual(['schedule/hello/first', 'schedule/hello/second']);
  await letOne();
  expect(jest.getTimerCount()).toBe(0);
});

test('one that could not be put there is tried again half a minute later, and not before', async () => {
  const { keeper, made, warned, letOne } = scene();
  keeper.keep(projectWith('bad'));
  await jest.advanceTimersByTimeAsync(0);
  await letOne();
  expect(warned).toEqual(['the schedules of a project could not be kept yet']);
  await jest.advanceTimersByTimeAsync(29_000);
  expect(made).toHaveLength(1);
  await jest.advanceTimersByTimeAsync(1_000);
  expect(made).toHaveLength(2);
  await letOne();
  await keeper.end();
  expect(jest.getTimerCount()).toBe(0);
});
