import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import type Docker from 'dockerode';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { RunName } from '../../src/cli/client.ts';
import { runPage } from '../../src/cli/pages/run.ts';
import { createPainter } from '../../src/cli/words.ts';
import { connectDocker } from '../../src/local/docker.ts';
import { openStore } from '../../src/store/store.ts';
import type { RunRecord } from '../../src/store/runs.ts';
import { type InstallationStory, quickDefinition, startInstallationStory } from '../support/installation-story.ts';
import { type BuildMachine, createBuildMachine } from '../support/machines.ts';
import { until } from '../support/until.ts';

/**
 * Two machines that build, A and B, as two workers with a name, a state folder, a spool and checkouts of their own; the installation's own worker
 * only orchestrates. The patience with a silent machine, five minutes where nobody says otherwise, is `patienceS` here: what else there is between the
 * kill and the beginning on the other machine (3 s until the heartbeat is missed, and a checkout) is printed, and stands in docs/operations.md.
 */
const patienceS = 8;
const minutes = 60_000;
let story: InstallationStory;
let docker: Docker;
let a: BuildMachine;
let b: BuildMachine;

beforeAll(async () => {
  story = await startInstallationStory({
    name: 'machines',
    files: { 'slipway.yaml': quickDefinition() },
    env: { SLIPWAY_CAPABILITIES: 'orchestration,deploy,notify', SLIPWAY_WORKER_NAME: 'hub' },
  });
  await story.setProject((document) => {
    document.setIn(['steps', 'executor'], 'host');
  });
  docker = connectDocker(story.dockerAddress);
  const env = { SLIPWAY_MACHINE_PATIENCE: String(patienceS) };
  a = await createBuildMachine(story, 'machine-a', env);
  b = await createBuildMachine(story, 'machine-b', env);
}, 5 * minutes);
afterAll(async () => {
  await a.close();
  await b.close();
  await story.close();
}, minutes);

/** What steps have said of themselves, in the order in which they did: `word run workspace`. */
function ledger(run: string): readonly string[] {
  const file = join(story.context.stateFolder, 'ledger');
  const lines = existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : [];
  return lines
    .filter((line) => line.startsWith(`${run} `))
    .map((line) => line.slice(run.length + 1).replaceAll(/\/\S*\/(machine-[ab])\/\S*/g, '$1'));
}

function heard(run: string, line: string): Promise<boolean> {
  return until(() => ledger(run).includes(line), { timeoutMs: 2 * minutes, what: `“${line}” of ${run}` });
}

/** Lets the steps of this run go on that wait for the word. */
function say(run: string, word: string): void {
  writeFileSync(join(story.context.stateFolder, `${run}.${word}`), '');
}

/**
 * `install` leaves a file, an output and a cache; `held` needs all of it, makes the checkout dirty, has a step that fails on its first machine
 * only, and waits twice: on the host, then in a container.
 */
async function push(run: string): Promise<RunName> {
  const folder = story.context.stateFolder;
  const tell = `tell() { echo "${run} $1 $SLIPWAY_WORKSPACE" >> ${folder}/ledger; }`;
  const wait = (word: string): string => `until [ -e ${folder}/${run}.${word} ]; do sleep 0.1; done`;
  const stages = `
  - name: install
    caches: [{ name: modules, paths: [modules], key: [package.json] }]
    steps:
      - name: fetch
        shell: |
          ${tell}
          [ -e modules/one ] && tell cached || { mkdir -p modules; echo one > modules/one; tell fetched; }
          echo installed > installed
          echo "TOKEN=of-install" >> "$SLIPWAY_OUTPUT"
        outputs: [TOKEN]
  - name: held
    steps:
      - name: begin
        shell: |
          ${tell}
          [ ! -e dirty ] && [ "$(cat installed)" = installed ] && [ "$TOKEN" = of-install ] && [ "$(git rev-parse HEAD)" = "$SLIPWAY_COMMIT" ] && tell begin
          touch dirty
          ${wait('begin')}
      - name: unsteady
        shell: |
          ${tell}
          if [ -e ${folder}/${run}.unsteady ]; then tell steady; else touch ${folder}/${run}.unsteady; tell unsteady; exit 7; fi
        onFailure: warn
      - name: wait
        shell: |
          ${tell}
          tell wait
          ${wait('wait')}
          tell waited
      - name: inside
        executor: container
        shell: 'echo inside > held; until [ -e go ]; do sleep 0.1; done; cat held'
`;
  const definition = quickDefinition().replace(/^stages:\n[^]*?^images:\n/m, `stages:${stages}\nimages:\n`);
  return await story.push({ branch: `feature/${run}`, subject: run, files: { 'slipway.yaml': definition } });
}

/** The containers of steps, also of those that run no more. */
async function onEngine(): Promise<readonly string[]> {
  const filters = { label: [`slipway.project=${story.project}`, 'slipway.role=step'] };
  return (await docker.listContainers({ all: true, filters })).map(({ Id }) => Id);
}

/** The round of every night, as if this run had ended two days ago. */
async function tidyUp({ project, number }: RunName): Promise<void> {
  const store = openStore({ url: story.own.store.url, poolSize: 1, applicationName: 'test' });
  const connection = await Connection.connect({ address: story.own.temporal.address });
  try {
    await sql`update runs set settled_at = now() - interval '2 days' where project = ${project} and number = ${number}`.execute(
      store.db,
    );
    const { namespace } = story.own.temporal;
    await new Client({ connection, namespace }).schedule.getHandle('upkeep/retention').trigger();
  } finally {
    await Promise.all([store.close(), connection.close()]);
  }
}

/** Where the step in a container of a run waits on a machine. */
function insideOf(record: RunRecord, machine: BuildMachine): string {
  return join(machine.runsFolder, record.project, record.key, 'source');
}

/** As `slipway status` shows it. */
function page(record: RunRecord): string {
  return runPage(record, { paint: createPainter({ colour: false, ascii: false }), nowMs: Date.now(), columns: 120 });
}

/** Waits until a run says that it begins anew; its phase alone may still be that of before its first stage. */
function waitsForMachine(run: RunName): Promise<RunRecord> {
  return until(
    async () => {
      const found = await story.operator.readRun(run);
      return page(found).includes('begins anew on the next machine') ? found : undefined;
    },
    { timeoutMs: minutes, what: 'the run to wait for a machine' },
  );
}

describe('a machine is lost in the middle of a stage', () => {
  test(
    'there is another: the run begins anew there, from the first stage and a checkout of its own, and passes once',
    async () => {
      await a.start();
      const run = await push('one');
      await heard('one', 'begin machine-a');
      // Of what it says from here on nothing comes through; that the step has a log is to be known before.
      await until(async () => (await story.operator.listLogs(run)).some(({ step }) => step === 'begin'), {
        what: 'the log of the first step',
      });
      a.cutStore();
      say('one', 'begin');
      await heard('one', 'wait machine-a');
      await b.start();
      const killedMs = Date.now();
      await a.lose();
      await heard('one', 'cached machine-b');
      const begunMs = Date.now() - killedMs;
      expect(a.steps()).toEqual([]);
      await heard('one', 'wait machine-b');
      process.stderr.write(`begun on the other machine ${(begunMs / 1_000).toFixed(1)} s after the kill\n`);
      expect(begunMs).toBeGreaterThan(patienceS * 1_000);
      const waiting = await story.operator.readRun(run);
      say('one', 'wait');
      const inside = insideOf(waiting, b);
      await until(() => existsSync(join(inside, 'held')), { timeoutMs: minutes });
      expect(await onEngine()).toHaveLength(1);
      writeFileSync(join(inside, 'go'), '');
      const ended = await story.endOfRun(run);
      expect(ended).toMatchObject({ outcome: 'succeeded' });
      expect(ledger('one')).toEqual([
        'fetched machine-a',
        'begin machine-a',
        'unsteady machine-a',
        'wait machine-a',
        'cached machine-b',
        'begin machine-b',
        'steady machine-b',
        'wait machine-b',
        'waited machine-b',
      ]);
      const shown = page(ended);
      expect(shown).toContain('succeeded');
      expect(shown).not.toMatch(/machine-a|begins anew/);
      // Both attempts can be read, and the log of the second checkout says why there is one.
      const logs = await story.operator.listLogs(run);
      expect(logs.filter(({ step }) => step === 'begin').map(({ attempt }) => attempt)).toEqual([1, 11]);
      expect(logs.filter(({ step }) => step === 'checkout').map(({ attempt }) => attempt)).toEqual([1, 11]);
      const why = await story.operator.searchLogs(run, 'the run begins anew', 'prepare/checkout');
      expect(why.flatMap(({ attempt, matches = [] }) => matches.map(({ text }) => [attempt, text]))).toEqual([
        [11, expect.stringMatching(/anew: At 20\d\d-.* UTC the machine machine-a had taken no work for 8\.0 s\.$/)],
      ]);
    },
    4 * minutes,
  );

  test(
    'it was the only one: the run says since when it waits for a machine, and goes on when one is back, which says nothing old',
    async () => {
      const first = { project: story.project, number: 1 };
      const before = await story.operator.readRun(first);
      const run = await push('two');
      await heard('two', 'begin machine-b');
      await b.lose();
      const waits = await waitsForMachine(run);
      const shown = page(waits);
      expect(shown).toMatch(/preparing/);
      expect(shown).toMatch(
        /At 20\d\d-\S+ \S+ UTC the machine machine-b had taken no work for 8\.0 s\. The run begins anew on the next machine/,
      );
      a.mendStore();
      await a.start();
      await until(() => a.spooled().length === 0, { timeoutMs: minutes, what: 'the old facts of A to be told' });
      expect(await story.operator.readRun(first)).toEqual(before);
      const logs = await story.operator.listLogs(first);
      expect(logs.filter(({ step }) => step === 'unsteady').map(({ attempt }) => attempt)).toEqual([1, 11]);
      await heard('two', 'begin machine-a');
      say('two', 'begin');
      say('two', 'wait');
      const inside = insideOf(waits, a);
      await until(() => existsSync(join(inside, 'held')), { timeoutMs: minutes });
      writeFileSync(join(inside, 'go'), '');
      const ended = await story.endOfRun(run);
      expect(ended).toMatchObject({ outcome: 'succeeded' });
      expect(page(ended)).not.toMatch(/machine-b|begins anew/);
      expect(await onEngine()).toEqual([]);

      const left = insideOf(before, a);
      expect(existsSync(left)).toBe(true);
      await tidyUp(first);
      await until(() => !existsSync(left), {
        timeoutMs: minutes,
        what: 'the checkout of the first run on A to be gone',
      });
    },
    4 * minutes,
  );

  test(
    'it is aborted before anybody has noticed, and while it waits for a machine: it is over, and begins on none',
    async () => {
      const unnoticed = await push('three');
      await heard('three', 'begin machine-a');
      await a.lose();
      await story.operator.abortRun(unnoticed, 'seen enough');
      const over = { outcome: 'aborted', reason: expect.stringContaining('seen enough') };
      expect(await story.endOfRun(unnoticed)).toMatchObject(over);

      await a.start();
      const waiting = await push('four');
      await heard('four', 'begin machine-a');
      await a.lose();
      await waitsForMachine(waiting);
      await story.operator.abortRun(waiting, 'seen enough');
      const ended = await story.endOfRun(waiting);
      expect(ended).toMatchObject(over);
      expect(page(ended)).not.toContain('begins anew');

      await b.start();
      await push('five');
      await heard('five', 'begin machine-b');
      for (const run of ['three', 'four']) expect(ledger(run).filter((line) => line.endsWith('machine-b'))).toEqual([]);
    },
    4 * minutes,
  );
});
