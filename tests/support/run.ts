import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { createReporter } from '../../src/local/report.ts';
import { down, status } from '../../src/local/up.ts';
import { plainEnvironment } from './plain-environment.ts';
import { type TestComponentName, type TestComponents, startComponents, testStateFolder } from './components.ts';

/** A folder of tests and what it needs to run. */
interface Group {
  readonly name: string;
  readonly needs: readonly TestComponentName[];
  /** One after the other, each file in a process of its own: they share ports, containers and a clock. */
  readonly serial: boolean;
  /** Needs programs that take minutes to build: run when it is named, or with `--all`. */
  readonly heavy?: boolean;
}

const everything: readonly TestComponentName[] = [
  'testServer',
  'temporal',
  'store',
  'docker',
  'registry',
  'router',
  'applicationPostgres',
  'nodeImage',
  'toolsImage',
];

/** In the order they run: what fails fastest first. */
const groups: readonly Group[] = [
  { name: 'unit', needs: [], serial: false },
  { name: 'replay', needs: ['testServer'], serial: false },
  { name: 'workflows', needs: ['testServer', 'temporal'], serial: true },
  { name: 'contracts', needs: everything, serial: true },
  { name: 'stories', needs: everything, serial: true },
  { name: 'faults', needs: everything, serial: true },
  { name: 'supply-chain', needs: everything, serial: true, heavy: true },
  { name: 'infrastructure', needs: everything, serial: true, heavy: true },
  { name: 'browser', needs: ['temporal', 'store'], serial: true, heavy: true },
  { name: 'compose', needs: ['docker', 'applicationPostgres', 'nodeImage'], serial: true, heavy: true },
];

interface Figures {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly failures: readonly string[];
  readonly skips: readonly string[];
}

const root = resolve(import.meta.dirname, '../..');
/** After its last result Jest has this long to end by itself, ms; something a test left open may hold it for ever. */
const leaveAfterMs = 20_000;

/** How much `--all` plays of what `npm test` plays a part of; what somebody has set stays. */
const longForms: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries({
    SLIPWAY_MODEL_RUNS: '1000',
    SLIPWAY_FENCE_ROUNDS: '300',
    SLIPWAY_TRAFFIC_ROUNDS: '3',
    SLIPWAY_BREAKAGES: 'all',
    SLIPWAY_FUZZ: '100000',
  }).map(([name, value]) => [name, process.env[name] ?? value]),
);

/** Of every property test, in the first try and in the second: another one would ask something else. */
const seed = process.env['SLIPWAY_SEED'] ?? String(Date.now() % 2 ** 31);

const scratch = mkdtempSync(join(tmpdir(), 'slipway-tests-'));
const componentsFile = join(scratch, 'components.json');
let jest: ChildProcess | undefined;
let stopping = false;
let started: Partial<TestComponents> = {};
/** Names of what came up beside a component that could not be had: nobody has a handle of it, and it must not stay. */
const strays = new Set<string>();

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    if (stopping) return;
    stopping = true;
    say(`\n${signal}: ending the tests and what was started for them`);
    endJest('SIGKILL');
    void cleanUp().finally(() => process.exit(130));
  });
}

async function main(args: readonly string[]): Promise<number> {
  const total = { passed: 0, failed: 0, skipped: 0, failures: [] as string[], skips: [] as string[] };
  secondTries.length = 0;
  try {
    for (const { group, files } of choose(args)) {
      say(`\n${group.name}`);
      const figures = (await provide(group)) ?? (await runTwice(group, files, args));
      total.passed += figures.passed;
      total.failed += figures.failed;
      total.skipped += figures.skipped;
      total.failures.push(...figures.failures);
      total.skips.push(...figures.skips);
    }
  } finally {
    if (!stopping) await cleanUp();
  }
  if (secondTries.length > 0) {
    say(
      `\nPassed only at the second try; look for what they raced with:\n${secondTries.map((line) => `  ${line}`).join('\n')}`,
    );
  }
  if (total.failures.length + secondTries.length > 0) say(`\nProperty tests were asked with SLIPWAY_SEED=${seed}`);
  if (total.failures.length > 0) say(`\nFailed:\n${total.failures.map((line) => `  ${line}`).join('\n')}`);
  if (total.skips.length > 0)
    say(`\nSkipped, which counts as failed:\n${total.skips.map((line) => `  ${line}`).join('\n')}`);
  if (total.passed + total.failed === 0)
    say('\nNo test was run: that is a failure. Name a group or a file that exists.');
  say(`\n${String(total.passed)} passed, ${String(total.failed)} failed, ${String(total.skipped)} skipped`);
  return total.failed === 0 && total.skipped === 0 && total.passed > 0 ? 0 : 1;
}

/** Groups by name, files by path; nothing named means every group. What begins with a dash is for Jest. */
function choose(args: readonly string[]): { group: Group; files: string[] }[] {
  const named = positional(args);
  const files = named
    .filter((name) => name.includes('/'))
    .flatMap((path) => testFilesAt(relative(root, resolve(path))));
  const unknown = named.filter((name) => !name.includes('/') && !groups.some((group) => group.name === name));
  if (unknown.length > 0) {
    throw new Error(`no group ${unknown.join(', ')}; there are ${groups.map((group) => group.name).join(', ')}`);
  }
  return groups
    .map((group) => ({ group, files: files.filter((file) => file.startsWith(join('tests', group.name))) }))
    .filter(({ group, files: own }) =>
      named.length === 0
        ? group.heavy !== true || args.includes('--all')
        : named.includes(group.name) || own.length > 0,
    )
    .filter(({ group }) => hasTests(group));
}

/** A folder stands for every test file below it. */
function testFilesAt(path: string): string[] {
  if (!statSync(join(root, path)).isDirectory()) return [path];
  return readdirSync(join(root, path), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.ts'))
    .map((file) => join(path, file));
}

function positional(args: readonly string[]): string[] {
  return args.filter(
    (arg, index) => !arg.startsWith('-') && !['-t', '--testNamePattern'].includes(args[index - 1] ?? ''),
  );
}

function forJest(args: readonly string[]): string[] {
  const own = positional(args);
  return args.filter((arg) => arg !== '--all' && !own.includes(arg));
}

function hasTests(group: Group): boolean {
  const folder = join('tests', group.name);
  return existsSync(join(root, folder)) && testFilesAt(folder).length > 0;
}

/** Starts what the group needs. @returns figures with one failure where that cannot be done. */
async function provide(group: Group): Promise<Figures | undefined> {
  const missing = group.needs.filter((name) => !Object.hasOwn(started, name));
  if (missing.length === 0) return undefined;
  const reporter = createReporter((line) => say(readable(line)));
  const before = await running();
  try {
    const more = await startComponents(missing, reporter.report);
    started = { ...started, ...more };
    writeFileSync(componentsFile, JSON.stringify(started));
    for (const name of missing) {
      const component = started[name];
      if (component !== undefined) say(`  ${describe(component)}`);
    }
    return undefined;
  } catch (error) {
    for (const name of await running()) if (!before.includes(name)) strays.add(name);
    const reason = (error instanceof Error ? error.message : String(error)).split(logTail)[0] ?? '';
    return {
      ...{ passed: 0, failed: 1, skipped: 0, skips: [] },
      failures: [`${group.name}: not run, a component is missing: ${reason}`],
    };
  }
}

async function running(): Promise<string[]> {
  const states = await status({ stateFolder: testStateFolder });
  return states.filter((state) => state.running).map(({ name }) => name);
}

/** Before the last lines of a log in the message of `src/local/daemons.ts`, which has them all in one. */
const logTail = ' and ends with: ';

/** A line of progress below its group, the lines of a log below that. */
function readable(line: string): string {
  const [what = '', tail] = line.split(logTail, 2);
  if (tail === undefined) return `  ${what}`;
  return [`  ${what} and ends with:`, ...tail.split(' | ').map((each) => `    ${each}`)].join('\n');
}

function describe(component: TestComponents[TestComponentName]): string {
  if ('image' in component) return `${component.how} ${component.image}`;
  const where = 'address' in component ? ` at ${component.address}` : '';
  return `${component.how} ${component.name} ${component.version}${where}`;
}

/** Tests that failed once and passed when they were run again; said at the end, so that nobody takes them for sound. */
const secondTries: string[] = [];

/**
 * Files with a failure are run once more, alone: these are real components on a shared machine, and what fails for the code fails twice. A test
 * that passes only then is named at the end.
 */
async function runTwice(group: Group, files: readonly string[], args: readonly string[]): Promise<Figures> {
  const first = await runJest(group, files, args);
  const again = [...new Set(first.failures.map((line) => /^(tests\/\S+\.test\.ts): /.exec(line)?.[1]))];
  const known = again.filter((file) => file !== undefined);
  if (first.failed === 0 || known.length !== again.length || stopping) return first;
  say(`\n${group.name}, once more: ${known.join(', ')}`);
  const second = await runJest({ ...group, serial: true }, known, args);
  const still = new Set(second.failures);
  secondTries.push(...first.failures.filter((line) => !still.has(line)));
  return {
    passed: first.passed + Math.max(0, first.failed - second.failed),
    failed: second.failed,
    skipped: first.skipped,
    failures: second.failures,
    skips: first.skips,
  };
}

async function runJest(group: Group, files: readonly string[], args: readonly string[]): Promise<Figures> {
  const results = join(scratch, `${group.name}.json`);
  rmSync(results, { force: true });
  const workers = group.serial
    ? ['--maxWorkers=1', '--workerIdleMemoryLimit=1MB']
    : [`--maxWorkers=${String(Math.min(4, availableParallelism()))}`];
  const argv = [
    ...['--experimental-vm-modules', '--disable-warning=ExperimentalWarning'],
    join(root, 'node_modules/jest/bin/jest.js'),
    ...['--roots', join(root, 'tests', group.name), '--reporters', join(root, 'tests/support/jest-reporter.mjs')],
    ...workers,
    // At a terminal Jest would force colours on every process its workers start.
    '--no-color',
    // A time limit of a test is for what hangs; what is late because the machine has other work is not wrong.
    ...(group.serial ? ['--testTimeout=180000'] : []),
    ...(files.length > 0 ? ['--runTestsByPath', ...files.map((file) => join(root, file))] : []),
    ...forJest(args),
  ];
  const code = await new Promise<number>((settle) => {
    jest = spawn(process.execPath, argv, {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
      detached: true,
      env: {
        ...plainEnvironment(),
        SLIPWAY_TEST_RESULTS: results,
        SLIPWAY_SEED: seed,
        ...(args.includes('--all') ? longForms : {}),
        ...(existsSync(componentsFile) ? { SLIPWAY_TEST_COMPONENTS: componentsFile } : {}),
      },
    });
    let leave: NodeJS.Timeout | undefined;
    const watch = setInterval(() => {
      if (!existsSync(results)) return;
      clearInterval(watch);
      leave = setTimeout(() => {
        say(`  ${group.name}: every test is done, but something a test left open holds the process; ending it`);
        endJest('SIGKILL');
      }, leaveAfterMs);
      leave.unref();
    }, 500);
    jest.once('error', () => settle(127));
    jest.once('close', (exit) => {
      clearInterval(watch);
      // Left running it would end the next group's tests.
      clearTimeout(leave);
      jest = undefined;
      settle(exit ?? 137);
    });
  });
  if (existsSync(results)) return JSON.parse(readFileSync(results, 'utf8')) as Figures;
  return {
    ...{ passed: 0, failed: 1, skipped: 0, skips: [] },
    failures: [`${group.name}: Jest ended with exit code ${String(code)} before any result`],
  };
}

/** The whole group of processes: Jest's workers and the test servers they started too. */
function endJest(signal: NodeJS.Signals): void {
  if (jest?.pid === undefined) return;
  try {
    process.kill(-jest.pid, signal);
  } catch {
    // It ended in this very moment.
  }
}

/** Only what this run started: what it found may be somebody's who calls Jest directly. */
async function cleanUp(): Promise<void> {
  const ours = Object.values(started).filter(({ how }) => how === 'started');
  const names = ours.map(({ name }) => name);
  const { ended, kept } = await down({
    stateFolder: testStateFolder,
    target: 'end',
    only: [...names, ...strays],
  });
  if (ended.length > 0) say(`\nstopped ${ended.join(', ')}`);
  for (const line of kept) say(`left running ${line}`);
  rmSync(scratch, { recursive: true, force: true });
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  say(error instanceof Error ? error.message : String(error));
  process.exitCode = 2;
}
