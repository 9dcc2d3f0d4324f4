import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { type LocalContext, type ProgressEvent, createLocalContext } from '../../src/local/context.ts';
import { type TestServerHandle, ensureTestServer } from '../../src/local/test-server.ts';
import { type ComponentName, type LocalComponents, up } from '../../src/local/up.ts';

/** Where the tests' own installation keeps its state; a second run finds what an interrupted one left. */
export const testStateFolder = resolve(import.meta.dirname, '../../.slipway/test');

/** Away from the ports a person's own installation prefers. */
const testPorts = {
  temporal: 27233,
  'temporal-ui': 28233,
  registry: 25050,
  store: 25440,
  'application-postgres': 25540,
};

/** Everything a test may ask for; addresses only, a test never ends what it did not start. */
export type TestComponents = { readonly [N in ComponentName]: Omit<LocalComponents[N], 'stop'> } & {
  readonly testServer: TestServerHandle;
};

export type TestComponentName = keyof TestComponents;

/**
 * The real components a test needs. Under `npm test` they run already; for somebody who calls Jest directly they are
 * found or started here, and left running for the next time.
 */
export async function components<N extends TestComponentName>(
  ...names: readonly N[]
): Promise<Pick<TestComponents, N>> {
  const known = readStarted();
  const missing = names.filter((name) => !Object.hasOwn(known, name));
  const more = missing.length === 0 ? {} : await startComponents(missing, reportToStderr);
  return { ...known, ...more } as Pick<TestComponents, N>;
}

/** A new time-skipping environment; its clock belongs to all its tests, so take one for each file and tear it down. */
export async function timeSkippingEnvironment(): Promise<TestWorkflowEnvironment> {
  const { testServer } = await components('testServer');
  return await TestWorkflowEnvironment.createTimeSkipping({ server: { executable: testServer.executable } });
}

/** Finds or starts components in the tests' own installation. */
export async function startComponents(
  names: readonly TestComponentName[],
  onProgress: (event: ProgressEvent) => void,
): Promise<Partial<TestComponents>> {
  const options = { stateFolder: testStateFolder, preferredPorts: testPorts, onProgress };
  const local = names.filter((name): name is ComponentName => name !== 'testServer');
  const [testServer, rest] = await Promise.all([
    names.includes('testServer') ? prepareTestServer(createLocalContext(options)) : undefined,
    up({ ...options, want: local }),
  ]);
  return { ...rest, ...(testServer === undefined ? {} : { testServer }) };
}

async function prepareTestServer(context: LocalContext): Promise<TestServerHandle> {
  return await ensureTestServer(context, {
    download: async () => {
      const environment = await TestWorkflowEnvironment.createTimeSkipping();
      await environment.teardown();
    },
  });
}

function readStarted(): Partial<TestComponents> {
  const file = process.env['SLIPWAY_TEST_COMPONENTS'];
  return file === undefined ? {} : (JSON.parse(readFileSync(file, 'utf8')) as Partial<TestComponents>);
}

function reportToStderr(event: ProgressEvent): void {
  process.stderr.write(`${event.component}: ${event.message}\n`);
}
