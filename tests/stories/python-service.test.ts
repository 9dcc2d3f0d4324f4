import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pLimit from 'p-limit';
import type { BuildReport } from '../../src/domain/build-report.ts';
import { connectDocker } from '../../src/local/docker.ts';
import type { RunRecord } from '../../src/store/runs.ts';
import { components } from '../support/components.ts';
import { type InstallationStory, startInstallationStory } from '../support/installation-story.ts';
import { type RealIndex, startPypiserver } from '../support/package-indexes.ts';
import { pythonImage } from '../support/python-image.ts';
import { type PythonService, addPythonService, breakages } from '../support/python-service.ts';
import { until } from '../support/until.ts';

const minutes = 60_000;
/** One of each kind of verdict, a minute on two cores; with `SLIPWAY_BREAKAGES=all`, as in `npm run test:all`, every one of them. */
const few = ['failing-test', 'coverage-under-threshold', 'flake8', 'vulnerable-dependency', 'truncated-report'];
const chosen = breakages.filter(({ name }) => process.env['SLIPWAY_BREAKAGES'] === 'all' || few.includes(name));
/** Each has linters that take a core for themselves. */
const atOnce = pLimit(3);

let story: InstallationStory;
let people: Server;
let index: RealIndex;
let service: PythonService;
let healthy: RunRecord;
const notices: string[] = [];
const broken = new Map<string, Promise<RunRecord>>();

beforeAll(async () => {
  const image = await pythonImage();
  const { docker, registry } = await components('docker', 'registry');
  // By the name that the example has for it.
  await connectDocker(docker.address).getImage(image).tag({ repo: 'python-ci', tag: '1' });
  people = createServer((request, response) => {
    void text(request).then((body) => {
      notices.push(body);
      response.end('ok');
    });
  });
  await new Promise<void>((resolve) => people.listen(0, '127.0.0.1', resolve));
  const { port } = people.address() as AddressInfo;
  index = await startPypiserver();
  story = await startInstallationStory({ name: 'python' });
  const secret = crypto.randomUUID();
  const file = (name: string, content: string): string => {
    const path = join(story.context.stateFolder, 'secrets', name);
    writeFileSync(path, `${content}\n`, { mode: 0o600 });
    return path;
  };
  service = await addPythonService(story, {
    registry: registry.address,
    channel: file('channel', `http://127.0.0.1:${String(port)}/`),
    secretFile: file('parcels', secret),
    secret,
    index: `${index.url}/`,
    indexPasswordFile: file('index', index.login.kind === 'password' ? index.login.password : ''),
  });
  healthy = await service.healthy();
  // At once; each test waits for its own.
  for (const breakage of chosen) {
    const run = atOnce(() => service.broken(breakage));
    run.catch(() => undefined);
    broken.set(breakage.name, run);
  }
}, 15 * minutes);

afterAll(async () => {
  await Promise.allSettled(broken.values());
  await story.close();
  service.remove();
  await index.stop();
  people.close();
}, 10 * minutes);

/** What it says in the end, in one text. */
async function reportOf({ project, number }: RunRecord): Promise<{ report: BuildReport; page: string }> {
  const run = { project, number };
  const [report, page] = await Promise.all([story.operator.readReport(run), story.operator.readReportText(run)]);
  return { report, page };
}

describe('a healthy commit', () => {
  test('passes every gate, each with what was looked at by which tool', async () => {
    const { report, page } = await reportOf(healthy);
    expect([healthy.outcome, healthy.reason, page]).toEqual(['succeeded', expect.anything(), expect.anything()]);
    const lookedAt = report.gates.flatMap(({ gate, verdict, reports }) =>
      reports.map(({ kind, tool, verdict: own }) => [gate, verdict, kind, own, tool.replace(/ [\d.]+$/, '')]),
    );
    expect(lookedAt.sort()).toEqual([
      ['code-security', 'passed', 'bandit', 'passed', 'bandit'],
      ['coverage', 'passed', 'cobertura', 'passed', 'Cobertura'],
      ['coverage', 'passed', 'coverage-py', 'passed', 'coverage.py'],
      ['dependencies', 'passed', 'pip-audit', 'passed', 'pip-audit'],
      ['dependencies', 'passed', 'pip-licenses', 'passed', 'pip-licenses'],
      ['dependencies', 'passed', 'pip-outdated', 'passed', 'pip'],
      ['quality', 'passed', 'black', 'passed', 'black'],
      ['quality', 'passed', 'flake8', 'passed', 'flake8'],
      ['quality', 'passed', 'isort', 'passed', 'isort'],
      ['quality', 'passed', 'mypy', 'passed', 'mypy'],
      ['quality', 'passed', 'pylint', 'passed', 'pylint'],
      ['tests', 'passed', 'junit', 'passed', 'pytest'],
    ]);
    expect(report.tests).toMatchObject({ total: 24, failed: 0, errored: 0, skipped: 0 });
    expect(report.coverage?.lines).toBeCloseTo(130 / 138, 4);
    expect(report.errored).toEqual([]);
    expect(report.pages).toMatchObject([{ stage: 'test', path: 'htmlcov' }]);
    expect(page).toContain('24 tests');
  });
});

describe('a tag', () => {
  const wheel = 'parcels-1.4.0-py3-none-any.whl';

  test(
    'publishes the wheel that its run has made, once, and every word on the run names it',
    async () => {
      expect(healthy.packages).toEqual([]);
      const run = await service.tag('v1.4.0');
      expect([run.outcome, run.reason]).toEqual(['succeeded', expect.stringContaining('1 file published')]);
      const [published, ...more] = run.packages;
      expect(more).toEqual([]);
      expect(published).toMatchObject({
        ...{ package: 'wheel', file: wheel, kind: 'python', index: 'internal', name: 'parcels', version: '1.4.0' },
        ...{ alreadyThere: false, address: `${index.url}/simple/parcels/` },
      });
      const content = Buffer.from(await (await fetch(`${index.url}/packages/${wheel}`)).arrayBuffer());
      expect(createHash('sha256').update(content).digest('hex')).toBe(published?.sha256);
      const { report, page } = await reportOf(run);
      expect(report.packages).toEqual(run.packages);
      expect(page).toContain(`\`parcels 1.4.0\` at internal: \`${wheel}\``);
      expect(run.stages.at(-1)).toMatchObject({ name: 'publish', verdict: 'passed', steps: [{ name: 'wheel' }] });
      await until(() => notices.some((notice) => notice.includes(`package parcels 1.4.0 (${wheel}) at internal`)));

      // Once more from the start, by another checkout: the wheel comes out the same, and is there.
      const { run: second } = await story.operator.rerun({ project: run.project, number: run.number }, 'start');
      const again = await story.endOfRun(second);
      expect([again.outcome, again.reason]).toEqual(['succeeded', expect.anything()]);
      expect(again.packages).toEqual([{ ...published, alreadyThere: true, at: expect.any(String) }]);
      const said = JSON.stringify([run, report, page, story.events, notices]);
      expect(said).not.toContain(index.login.kind === 'password' ? index.login.password : '');
    },
    10 * minutes,
  );

  test(
    'of another version publishes nothing, and says why',
    async () => {
      const run = await service.tag('v1.5.0');
      expect([run.outcome, run.packages]).toEqual(['failed', []]);
      expect(run.reason).toContain('has the version 1.4.0 of parcels; the project lets {tag} be published');
      expect(await (await fetch(`${index.url}/simple/parcels/`)).text()).not.toContain('1.5.0');
    },
    10 * minutes,
  );
});

describe('a commit that breaks something', () => {
  test('that only warns is told of, with the gate and what it found', async () => {
    const run = await broken.get('coverage-under-threshold');
    const title = `parcels #${String(run?.number)}: gate coverage warned`;
    const notice = await until(() => notices.find((body) => body.includes(title)), { what: title });
    expect(notice).toContain('58.69 % of the lines are covered');
    // What blocks is told by the end of the run, and by nothing else.
    expect(notices.filter((body) => body.includes('gate quality warned'))).toEqual([]);
  });

  test('is one of at least ten', () => {
    expect(breakages.length).toBeGreaterThanOrEqual(10);
  });

  test.each(chosen.map((breakage) => [breakage.name, breakage] as const))(
    '%s',
    async (name, { stage, gate, outcome, says }) => {
      const run = await broken.get(name);
      if (run === undefined) throw new Error(`${name} was not pushed`);
      const { report, page } = await reportOf(run);
      const found = report.gates.find((one) => one.gate === gate.name);
      expect({
        outcome: run.outcome,
        stage: run.stages.find((one) => one.name === stage.name)?.verdict,
        gate: { verdict: found?.verdict, mode: found?.mode },
        // What is broken is found once, and nothing else is.
        others: report.gates.filter((one) => one !== found && one.verdict !== 'passed').map((one) => one.gate),
      }).toEqual({
        outcome,
        stage: stage.verdict,
        gate: { verdict: gate.verdict, mode: gate.mode },
        others: [],
      });
      const said = [
        run.reason,
        ...report.gates.map(({ reason }) => reason),
        ...(report.tests?.failures.map((one) => one.name) ?? []),
        page,
      ].join('\n');
      for (const expected of says) expect(said).toContain(expected);
    },
    10 * minutes,
  );
});
