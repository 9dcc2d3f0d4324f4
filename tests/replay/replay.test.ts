import { readFileSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { DeterminismViolationError } from '@temporalio/workflow';
import { ensureWorkflowBundle } from '../../src/workers/bundle.ts';

interface Recorded {
  readonly workflowId: string;
  readonly history: {
    readonly events: { activityTaskScheduledEventAttributes?: { activityType: { name: string } } }[];
  };
}

const folder = join(import.meta.dirname, 'histories');
const names = readdirSync(folder)
  .filter((name) => name.endsWith('.json'))
  .map((name) => name.replace(/\.json$/, ''));

function recorded(name: string): Recorded {
  return JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8')) as Recorded;
}

let codePath = '';
beforeAll(async () => {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  codePath = await ensureWorkflowBundle(join(tmpdir(), 'slipway-replay-bundles'));
}, 60_000);

async function replay({ history, workflowId }: Recorded): Promise<void> {
  await Worker.runReplayHistory({ workflowBundle: { codePath }, replayName: 'tests' }, history, workflowId);
}

describe('what has run goes on with the present code', () => {
  test('there is a history of every workflow', () => {
    const index = readFileSync(join(import.meta.dirname, '../../src/workflows/index.ts'), 'utf8');
    const workflows = [...index.matchAll(/^export \{ (\w+) \}/gm)].map((match) => match[1]);
    expect(workflows.length).toBeGreaterThan(10);
    expect(new Set(names.map((name) => name.split('.')[0]))).toEqual(new Set(workflows));
  });

  test.each(names)('%s', async (name) => {
    const given = recorded(name);
    expect(given.history.events.length).toBeGreaterThan(3);
    await replay(given);
  });

  test('a history that the code would not have made is refused', async () => {
    const given = recorded(names.find((name) => name.startsWith('rollOutRelease.')) ?? '');
    const scheduled = given.history.events.find((event) => event.activityTaskScheduledEventAttributes !== undefined);
    scheduled!.activityTaskScheduledEventAttributes!.activityType.name = 'somethingElse';
    await expect(replay(given)).rejects.toBeInstanceOf(DeterminismViolationError);
  });
});

test('one protobufjs serves every Temporal package', () => {
  // Two copies break `historyFromJSON` with "type must be a Type", and with it every replay of a recorded history.
  const lock = JSON.parse(readFileSync(join(import.meta.dirname, '../../package-lock.json'), 'utf8')) as {
    readonly packages: Readonly<Record<string, { readonly version?: string }>>;
  };
  const own = Object.keys(lock.packages).filter((path) => /@temporalio\/[^/]+\/node_modules\/protobufjs$/.test(path));
  expect(own).toEqual([]);
  expect(lock.packages['node_modules/protobufjs']?.version).toMatch(/^8\./);
});
