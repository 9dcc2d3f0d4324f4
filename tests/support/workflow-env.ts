import { resolve } from 'node:path';
import { Client } from '@temporalio/client';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import type { Activities } from '../../src/activities/contracts.ts';
import { createLocalContext } from '../../src/local/context.ts';
import { findProgram } from '../../src/local/programs.ts';
import { ensureWorkflowBundle } from '../../src/workers/bundle.ts';
import { searchAttributes } from '../../src/workflows/progress.ts';
import { taskQueues } from '../../src/workflows/queues.ts';
import { components, testStateFolder, timeSkippingEnvironment } from './components.ts';
import { until } from './until.ts';
import { World, createFakeActivities, createNaturalActivities } from './fake-activities.ts';

/** Workers of all queues over fake activities, on a server of their own. */
export interface WorkflowEnv {
  readonly server: TestWorkflowEnvironment;
  /** Waiting with it does not move the clock; {@link skip} does. */
  readonly client: Client;
  /** What an activity does where no test says otherwise. */
  natural(name: keyof Activities): (input: never, world: World) => unknown;
  /** A new world under a name that no other test has. */
  world(): World;
  /** Waits for a condition in real time. */
  until(look: () => Promise<boolean> | boolean, what: string): Promise<void>;
  /** Ends the workers as a deploy of Slipway does, and starts others that know nothing of what was cached. */
  restartWorkers(): Promise<void>;
  /** Lets the server's clock run for so long; returns at once in real time unless something happens on the way. */
  skip(ms: number): Promise<void>;
  close(): Promise<void>;
}

export interface WorkflowEnvOptions {
  /** 0 forgets every workflow after every task, so that each task replays the whole history. */
  readonly maxCachedWorkflows?: number;
  /**
   * `time-skipping` (default): Temporal's test server, whose clock is ours. `real`: the dev server, in memory, with the real clock; the test
   * server loses time-skipping for good once a workflow with a task under way is terminated, and tasks when a worker is restarted.
   */
  readonly server?: 'time-skipping' | 'real';
}

/** As `src/local/temporal.ts` starts it: without them an activity costs 102 ms instead of 12. */
const tunedFlags = ['transfer', 'timer', 'visibility'].flatMap((queue) => [
  '--dynamic-config-value',
  `history.${queue}ProcessorMaxPollRPS=2000`,
]);

/** `IndexedValueType.KEYWORD` of the server's API. */
const keyword = 2;

let runtimeInstalled = false;

/** For `beforeAll`; the clock of the server is shared by all tests of the file. */
export async function createWorkflowEnv(options: WorkflowEnvOptions = {}): Promise<WorkflowEnv> {
  if (!runtimeInstalled) {
    Runtime.install({ logger: new DefaultLogger((process.env['SLIPWAY_TEST_LOG'] ?? 'ERROR') as 'ERROR') });
    runtimeInstalled = true;
  }
  const bundle = await ensureWorkflowBundle(resolve(import.meta.dirname, '../../.slipway/test/bundles'));
  const server = options.server === 'real' ? await realServer() : await timeSkippingServer();
  const worlds = new Map<string, World>();
  const worldOf = (project: string): World => {
    const known = worlds.get(project);
    if (known === undefined) throw new Error(`no world for project ${JSON.stringify(project)}`);
    return known;
  };
  // A plain one: the client of the test environment lets the clock run while it waits for a result.
  const client = new Client({ connection: server.connection, namespace: server.namespace ?? 'default' });
  const activities = createFakeActivities(worldOf, () => client);
  const start = async (): Promise<{ stop: () => Promise<void> }> => {
    // Of its own: the test server goes on handing tasks to the polls of a worker that has ended while their connection is open.
    const connection = await NativeConnection.connect({ address: server.address });
    const workers = await Promise.all(
      Object.values(taskQueues).map((taskQueue) =>
        Worker.create({
          connection,
          ...(server.namespace === undefined ? {} : { namespace: server.namespace }),
          taskQueue,
          activities,
          ...(taskQueue === taskQueues.orchestration ? { workflowBundle: { codePath: bundle } } : {}),
          maxConcurrentActivityTaskExecutions: 500,
          maxHeartbeatThrottleInterval: 200,
          defaultHeartbeatThrottleInterval: 200,
          stickyQueueScheduleToStartTimeout: 2_000,
          ...(options.maxCachedWorkflows === undefined ? {} : { maxCachedWorkflows: options.maxCachedWorkflows }),
        }),
      ),
    );
    const running = workers.map((worker) => worker.run());
    return {
      stop: async () => {
        for (const worker of workers) worker.shutdown();
        await Promise.all(running);
        await connection.close();
      },
    };
  };
  const natural = createNaturalActivities(() => client);
  let workers = await start();
  let counter = 0;
  return {
    server,
    client,
    natural: (name) => natural[name],
    world: () => {
      counter += 1;
      const world = new World(`p${String(counter)}`);
      worlds.set(world.project, world);
      return world;
    },
    until: async (look, what) => {
      await until(look, { what });
    },
    restartWorkers: async () => {
      await workers.stop();
      workers = await start();
    },
    skip: (ms) => server.sleep(ms),
    close: async () => {
      await workers.stop();
      await server.teardown();
    },
  };
}

/** A server of its own that skips time and knows the search attributes of Slipway. */
export async function timeSkippingServer(): Promise<TestWorkflowEnvironment> {
  const server = await timeSkippingEnvironment();
  await server.connection.operatorService.addSearchAttributes({
    namespace: server.namespace ?? 'default',
    searchAttributes: Object.fromEntries(Object.values(searchAttributes).map(({ name }) => [name, keyword])),
  });
  return server;
}

async function realServer(): Promise<TestWorkflowEnvironment> {
  const context = createLocalContext({ stateFolder: testStateFolder });
  // Asking for the component is what brings the program to a machine that has none yet.
  if (findProgram(context, 'temporal') === undefined) await components('temporal');
  const path = findProgram(context, 'temporal');
  if (path === undefined) throw new Error('Temporal runs, but its program is neither in the cache nor on PATH');
  return await TestWorkflowEnvironment.createLocal({
    server: {
      executable: { type: 'existing-path', path },
      searchAttributes: Object.values(searchAttributes),
      extraArgs: tunedFlags,
      log: { level: 'never', format: 'pretty' },
    },
  });
}
