import Docker from 'dockerode';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { RunName } from '../../src/cli/client.ts';
import type { RunRecord } from '../../src/store/runs.ts';
import { type CompanionImage, redisImage } from '../support/companion-images.ts';
import { type InstallationStory, quickDefinition, startInstallationStory } from '../support/installation-story.ts';
import { until } from '../support/until.ts';

const minutes = 60_000;
let story: InstallationStory;
let redis: CompanionImage;
let docker: Docker;

beforeAll(async () => {
  redis = await redisImage();
  story = await startInstallationStory({ name: 'stages', files: { 'slipway.yaml': quickDefinition() } });
  docker = new Docker({ socketPath: story.dockerAddress.replace('unix://', '') });
}, 5 * minutes);
afterAll(async () => {
  await story.close();
}, minutes);

/** The example's definition with these stages. */
async function push(subject: string, stages: string): Promise<RunName> {
  const definition = quickDefinition().replace(/^stages:\n[^]*?^images:\n/m, `stages:\n${stages}\nimages:\n`);
  return await story.push({ branch: 'feature/stages', subject, files: { 'slipway.yaml': definition, stamp: subject } });
}

/** Verdicts by stage of the definition; the images are built in one that is not. */
function verdictsOf({ stages }: RunRecord): Readonly<Record<string, string | null>> {
  return Object.fromEntries(stages.filter(({ name }) => name !== 'build').map(({ name, verdict }) => [name, verdict]));
}

const service = (): string => `    services:
      redis:
        image: "${redis.image}"
        port: 6379
        command: [${redis.command.map((word) => `"${word}"`).join(', ')}]
        health: { command: [redis-cli, ping], interval: 200ms, startup: 30s }`;

/** What stages have put on the engine and not taken away. */
async function onEngine(): Promise<number> {
  const filters = JSON.stringify({ label: [`slipway.project=${story.project}`, 'slipway.stage'] });
  const [containers, networks] = await Promise.all([
    docker.listContainers({ all: true, filters }),
    docker.listNetworks({ filters }),
  ]);
  return containers.length + networks.length;
}

describe('a pipeline as people write it', () => {
  const stages = (): string => `
  - name: install
    caches: [{ name: modules, paths: [modules], key: [package.json] }]
    steps: [{ name: fetch, shell: '[ -e modules/one ] || { mkdir -p modules; echo fetched > modules/one; }' }]
  - name: quality
    needs: [install]
    parallel: true
    steps:
      - { name: lint, run: [cat, modules/one] }
      - { name: style, run: ["false"], onFailure: warn }
  - name: unit
    needs: [install]
    matrix: { values: { SUITE: [fast, slow] } }
    artifacts: [{ name: reports, paths: ["reports/*.txt"] }]
    steps: [{ name: test, shell: 'mkdir -p reports; echo "$SUITE of $(cat modules/one)" > "reports/$SUITE.txt"' }]
  - name: integration
    needs: [install]
${service()}
    steps:
      - { name: ask, shell: 'printf "PING\\r\\n" | nc "$SERVICE_REDIS_HOST" "$SERVICE_REDIS_PORT" -w 2 > answer; grep PONG answer' }
      - { name: version, shell: 'echo "ANSWER=pong" >> "$SLIPWAY_OUTPUT"', outputs: [ANSWER] }
  - name: publish
    when: { branch: [main] }
    steps: [{ name: publish, run: [touch, published] }]
  - name: report
    needs: [quality, unit, integration]
    steps: [{ name: say, shell: 'echo "answer $ANSWER"' }]
`;

  test(
    'passes, is found in its parts, and the second time has its cache',
    async () => {
      const first = await story.endOfRun(await push('the first', stages()));
      expect(first.reason).toContain('6 stages passed, 1 skipped');
      expect(verdictsOf(first)).toEqual({
        install: 'passed',
        quality: 'passed',
        'unit-fast': 'passed',
        'unit-slow': 'passed',
        integration: 'passed',
        publish: 'inconclusive',
        report: 'passed',
      });
      const run = { project: first.project, number: first.number };
      const artifacts = await until(async () => {
        const found = await story.operator.listArtifacts(run);
        return found.length === 2 ? found : undefined;
      });
      expect(artifacts.map(({ stage }) => stage)).toEqual(['unit-fast', 'unit-slow']);
      const body = await story.operator.readArtifactFile(
        run,
        { stage: 'unit-fast', name: 'reports' },
        'reports/fast.txt',
        new AbortController().signal,
      );
      expect(await new Response(body).text()).toBe('fast of fetched\n');
      const found = await until(async () => {
        const logs = await story.operator.searchLogs(run, 'answer pong', 'report/say');
        return logs.length > 0 ? logs : undefined;
      });
      expect(found[0]?.matches).toMatchObject([{ line: 1, text: 'answer pong' }]);

      const second = await story.endOfRun(await push('the second', stages()));
      expect(second.outcome).toBe('succeeded');
      const files = await until(async () => {
        const logs = await story.operator.searchLogs(
          { project: second.project, number: second.number },
          'cache modules: found',
          undefined,
        );
        return logs.length > 0 ? logs : undefined;
      });
      expect(files[0]).toMatchObject({ stage: 'install', step: 'stage.files' });
      expect(await onEngine()).toBe(0);
    },
    5 * minutes,
  );
});

describe('stages that are taken away', () => {
  const waiting = (name: string): string => `  - name: ${name}
    needs: []
${service()}
    steps: [{ name: wait, shell: 'echo "${name} waits"; i=0; while [ ! -e go ]; do sleep 0.2; i=$((i+1)); [ $i -lt 60 ] || touch go; done' }]`;
  const stages = (): string => `
${waiting('one')}
${waiting('two')}
  - name: clean
    when: { outcome: always }
    steps: [{ name: clean, run: [touch, cleaned] }]
`;
  const bothWait = async (run: RunName): Promise<void> => {
    await until(
      async () => {
        const { stages: seen } = await story.operator.readRun(run);
        return ['one', 'two'].every((name) => seen.some((stage) => stage.name === name && stage.steps.length > 0));
      },
      { timeoutMs: 60_000, what: 'both stages to run their step' },
    );
    // Two services, two networks, two containers of steps.
    await until(async () => (await onEngine()) === 6, { timeoutMs: 30_000, what: 'everything to be on the engine' });
  };

  test(
    'by an abort are gone from the engine within 3 s, and then what always runs does',
    async () => {
      const run = await push('to be aborted', stages());
      await bothWait(run);
      const began = performance.now();
      await story.operator.abortRun(run, 'seen enough');
      await until(async () => (await onEngine()) === 0, { timeoutMs: 10_000, everyMs: 50 });
      expect(performance.now() - began).toBeLessThan(3_500);
      const ended = await story.endOfRun(run);
      expect(ended.outcome).toBe('aborted');
      expect(verdictsOf(ended)).toMatchObject({ clean: 'passed' });
    },
    5 * minutes,
  );

  test(
    'by the death of the worker begin again from one clean checkout and pass, and leave nothing',
    async () => {
      const run = await push('to be killed', stages());
      await bothWait(run);
      await story.kill('worker');
      const ended = await story.endOfRun(run);
      expect(ended.outcome).toBe('succeeded');
      expect(verdictsOf(ended)).toEqual({ one: 'passed', two: 'passed', clean: 'passed' });
      const logs = await story.operator.listLogs(run);
      expect(logs.filter(({ step }) => step === 'workspace')).toHaveLength(1);
      expect(await onEngine()).toBe(0);
    },
    5 * minutes,
  );
});
