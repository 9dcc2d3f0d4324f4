import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { StageEvidence } from '../../../src/domain/evidence.ts';
import type { RunPlan, StageReport } from '../../../src/domain/run.ts';
import { createRunFixture, type RunFixture } from '../../support/run-fixture.ts';

let fixture: RunFixture;

beforeEach(() => {
  fixture = createRunFixture();
});
afterEach(() => fixture.remove());

async function run(
  stages: string,
  {
    files = {},
    more = '',
    before,
  }: { files?: Record<string, string>; more?: string; before?: (plan: RunPlan) => void } = {},
): Promise<StageReport> {
  const commit = fixture.origin.commit({ 'slipway.yaml': `version: 1\n${more}stages:\n${stages}`, ...files });
  const plan = await fixture.prepare(fixture.input(commit));
  before?.(plan);
  return await fixture.runStage(plan, plan.stages[0]!.name);
}

async function evidenceOf({ evidence }: StageReport): Promise<StageEvidence> {
  return JSON.parse(await text(await fixture.blobs.read(evidence!))) as StageEvidence;
}

const junit = (inner: string): string => `<testsuite name="unit"><testcase name="a">${inner}</testcase></testsuite>`;
const stage = (script: string, reports: string, more = ''): string => `
  - name: test
    steps:
      - name: unit
        shell: |
          ${script.replaceAll('\n', '\n          ')}
        reports: [${reports}]
        ${more}
`;

describe('reports of a stage', () => {
  test('are read and judged, and kept whole beside a short verdict', async () => {
    const report = await run(stage(`echo '${junit('')}' > junit.xml`, '{ kind: junit, path: junit.xml }'));
    expect(report).toMatchObject({
      verdict: 'passed',
      gates: [
        {
          gate: 'tests',
          mode: 'block',
          verdict: 'passed',
          blocks: false,
          reason: 'unit: 1 of 1 tests passed.',
        },
      ],
    });
    const { reports, gates } = await evidenceOf(report);
    expect(reports).toMatchObject([{ state: 'read', gate: 'tests', lookedAt: '1 test in 1 suite' }]);
    expect(gates).toMatchObject([{ reports: [{ tool: 'unit', path: 'junit.xml' }] }]);
  });

  test('that block fail a stage whose steps all passed', async () => {
    const report = await run(
      stage(`echo '${junit('<failure message="no"/>')}' > junit.xml`, '{ kind: junit, path: junit.xml }'),
    );
    expect(report).toMatchObject({ verdict: 'failed', detail: 'Gate tests failed: unit: 1 of 1 tests failed.' });
  });

  test('are read after a step failed too, which stays the reason', async () => {
    const script = `echo '${junit('<failure/>')}' > junit.xml; exit 1`;
    const report = await run(stage(script, '{ kind: junit, path: junit.xml }'));
    expect(report.detail).toMatch(/^unit ended with status 1/);
    expect(report.gates).toMatchObject([{ gate: 'tests', verdict: 'failed' }]);
  });

  test('that are not there are errored: stopping where the gate blocks, told where it warns', async () => {
    const blocked = await run(stage('true', '{ kind: junit, path: junit.xml }'));
    expect(blocked).toMatchObject({ verdict: 'errored', gates: [{ gate: 'tests', verdict: 'errored', blocks: true }] });
    expect(blocked.detail).toMatch(/junit\.xml is not there\. Check that the step writes it/);
    const warned = await run(stage('true', '{ kind: bandit, path: bandit.json }'));
    expect(warned).toMatchObject({
      verdict: 'passed',
      gates: [{ gate: 'code-security', verdict: 'errored', blocks: false }],
    });
  });

  test('that lie in the repository prove nothing', async () => {
    const report = await run(stage('true', '{ kind: junit, path: "reports/*.xml" }'), {
      files: { 'reports/junit.xml': junit('') },
    });
    expect(report.verdict).toBe('errored');
    expect(report.detail).toContain('was there before the stage began');
    const written = await run(
      stage(`echo '${junit('')}' > reports/junit.xml`, '{ kind: junit, path: "reports/*.xml" }'),
      {
        files: { 'reports/junit.xml': `${junit('')} ` },
      },
    );
    expect(written.verdict).toBe('passed');
  });

  test('are not looked for where their step never ran', async () => {
    const report = await run(`
  - name: test
    steps:
      - { name: bad, run: ["false"] }
      - { name: unit, run: ["true"], reports: [{ kind: junit, path: junit.xml }] }
`);
    expect((await evidenceOf(report)).reports).toEqual([]);
    expect(report.gates).toEqual([]);
  });

  test('that a cache has brought back prove nothing', async () => {
    const caches = '\n    caches: [{ name: reports, paths: [reports], key: [lock] }]\n';
    const reports = '{ kind: junit, path: reports/junit.xml }';
    const first = await run(
      stage(`mkdir -p reports; echo '${junit('')}' > reports/junit.xml`, reports).trimEnd() + caches,
      { files: { lock: '1' } },
    );
    expect(first.verdict).toBe('passed');
    const second = await run(stage('test -f reports/junit.xml', reports).trimEnd() + caches, { files: { lock: '1' } });
    expect(fixture.facts).toContain('cache reports exact');
    expect(second.verdict).toBe('errored');
    expect(second.detail).toContain('was there before the stage began');
  });

  test('of a step that its condition keeps from running are not asked for', async () => {
    const report = await run(`
  - name: test
    steps:
      - { name: unit, run: ["true"] }
      - { name: told, run: ["true"], when: { outcome: failure }, reports: [{ kind: junit, path: junit.xml }] }
`);
    expect(report.verdict).toBe('passed');
    expect(report).not.toHaveProperty('evidence');
  });

  test('do not lead out of the checkout', async () => {
    const outside = await run(stage('ln -s /etc/passwd junit.xml', '{ kind: junit, path: junit.xml }'));
    expect(outside.detail).toContain('is a link that leads out of the repository');
    const folder = await run(stage('true', '{ kind: junit, path: reports/passwd }'), {
      before: (plan) => symlinkSync('/etc', join(plan.workspace.path, 'reports')),
    });
    expect(folder.detail).toContain('is a link that leads out of the repository');
    const pipe = await run(stage('mkfifo junit.xml', '{ kind: junit, path: junit.xml }'));
    expect(pipe.detail).toContain('is no plain file');
    const place = await run(stage('mkdir junit.xml', '{ kind: junit, path: junit.xml }'));
    expect(place.detail).toContain('is no plain file');
    const huge = await run(stage('truncate -s 1G junit.xml', '{ kind: junit, path: junit.xml }'));
    expect(huge.detail).toContain('is larger than the 512 MiB that are read');
  });

  test('say nothing of the secrets of a step', async () => {
    fixture.secrets.set('TOKEN', 's3cr3t-value');
    const script = `echo "<testsuite name='unit'><testcase name='a'><failure message='got $TOKEN'/></testcase></testsuite>" > junit.xml
mkdir html; echo "<p>$TOKEN</p>" > html/index.html`;
    const report = await run(
      stage(script, '{ kind: junit, path: junit.xml }, { kind: html, path: html }', 'secrets: [TOKEN]'),
    );
    const evidence = await evidenceOf(report);
    expect(JSON.stringify([report, evidence])).not.toContain('s3cr3t');
    expect(JSON.stringify(evidence)).toContain('got ***');
    expect(await text(await fixture.blobs.read(`${evidence.pages[0]!.prefix}/index.html`))).toBe('<p>***</p>\n');
  });

  test('in HTML are kept file by file, without what is hidden or leads elsewhere', async () => {
    const script = `mkdir -p cov/deep && echo page > cov/index.html && echo more > cov/deep/a.html && echo x > cov/.hidden && ln -s /etc/passwd cov/passwd`;
    const report = await run(stage(script, '{ kind: html, path: cov }, { kind: html, path: nowhere }'));
    expect(report).toMatchObject({ verdict: 'passed', gates: [] });
    const { pages, lost } = await evidenceOf(report);
    expect(pages).toEqual([
      { path: 'cov', prefix: 'pages/hello/1/test/0', entry: 'index.html', files: 2, sizeBytes: 10 },
    ]);
    expect(lost).toEqual(['nowhere is not there.']);
    expect(await text(await fixture.blobs.read('pages/hello/1/test/0/deep/a.html'))).toBe('more\n');
  });

  test('a gate that a document names and nothing feeds is errored by the last stage', async () => {
    const stages = `
  - name: test
    steps: [{ name: unit, run: ["true"] }]
`;
    const more = 'gates: { container: { mode: block } }\n';
    expect(await run(stages, { more })).toMatchObject({
      verdict: 'errored',
      detail: 'Gate container errored: There is no report for container.',
    });
  });

  test('… but for the gate of images where they are scanned: their scan answers for it', async () => {
    fixture.projectYaml += '\nimages: { scan: { scanner: osv-scanner, database: /nowhere } }\n';
    const stages = `
  - name: test
    steps: [{ name: unit, run: ["true"] }]
`;
    const report = await run(stages, { more: 'gates: { container: { mode: block } }\n' });
    expect(report).toMatchObject({ verdict: 'passed' });
    expect(report).not.toHaveProperty('gates');
  });

  test('… by the last that runs when all is well', async () => {
    const stages = `
  - name: test
    steps: [{ name: unit, run: ["true"] }]
  - name: tidy
    when: { outcome: failure }
    steps: [{ name: rm, run: ["true"] }]
`;
    expect(await run(stages, { more: 'gates: { container: { mode: block } }\n' })).toMatchObject({
      verdict: 'errored',
    });
  });

  describe('what the project asks of every run', () => {
    const unit = '\n  - name: unit\n    steps: [{ name: unit, run: ["true"] }]\n';
    const reports = '[{ kind: bandit, path: bandit.json }]';
    const bandit = (when: string, ofStep = ''): string =>
      `\n  - name: bandit\n${when}    steps:\n      - { name: bandit, run: ["true"], reports: ${reports}${ofStep} }\n`;
    const never = '{ branch: [nowhere] }';

    test.each([
      ['a condition of the stage', `${bandit(`    when: ${never}\n`)}${unit}`],
      ['a condition of the step', `${bandit('', `, when: ${never}`)}${unit}`],
      ['a stage for failures only', `${bandit('    when: { outcome: failure }\n')}${unit}`],
      [
        'a last stage of which nothing runs',
        `${bandit(`    when: ${never}\n`)}${unit}\n  - name: z\n    steps: [{ name: z, run: ["true"], when: ${never} }]\n`,
      ],
    ])('is not put away by %s', async (_, stages) => {
      fixture.projectYaml += '\ngates: { code-security: { reports: [bandit], mode: block } }\n';
      const commit = fixture.origin.commit({ 'slipway.yaml': `version: 1\nstages:${stages}` });
      const plan = await fixture.prepare(fixture.input(commit));
      expect(await fixture.runStage(plan, 'unit')).toMatchObject({
        verdict: 'errored',
        detail: 'Gate code-security errored: There is no report of the kind bandit.',
      });
    });

    test('may be put away by a condition where only the repository asks', async () => {
      const more = 'gates: { code-security: { reports: [bandit], mode: block } }\n';
      const commit = fixture.origin.commit({
        'slipway.yaml': `version: 1\n${more}stages:${bandit(`    when: ${never}\n`)}${unit}`,
      });
      const plan = await fixture.prepare(fixture.input(commit));
      expect(await fixture.runStage(plan, 'unit')).toMatchObject({ verdict: 'passed' });
    });

    test.each([
      ['every stage has a condition', bandit(`    when: ${never}\n`)],
      [
        'only what starts others is left',
        `${bandit(`    when: ${never}\n`)}\n  - { name: next, starts: { project: other } }\n`,
      ],
    ])('stops the run before it begins where %s', async (_, stages) => {
      const commit = fixture.origin.commit({ 'slipway.yaml': `version: 1\nstages:${stages}` });
      fixture.projectYaml += '\ngates: { code-security: { mode: warn } }\n';
      expect((await fixture.prepare(fixture.input(commit))).warnings).toEqual([
        'Gate code-security errored: no stage of this run feeds it.',
      ]);
      fixture.projectYaml = fixture.projectYaml.replace('mode: warn', 'mode: block');
      await expect(fixture.prepare(fixture.input(commit))).rejects.toMatchObject({
        type: 'GateErrored',
        message: expect.stringContaining('code-security'),
      });
    });
  });

  test('licences are asked of the stage that names them, and of each other one where none does', async () => {
    const licences = 'gates: { dependencies: { mode: block, licences: { allow: [MIT] } } }\n';
    const audit = `
  - name: audit
    steps:
      - name: audit
        shell: echo '{"dependencies":[{"name":"a","version":"1","vulns":[]}]}' > audit.json
        reports: [{ kind: pip-audit, path: audit.json }]
`;
    const named = `
  - name: licences
    steps:
      - name: licences
        shell: echo '[{"Name":"a","Version":"1","License":"MIT"}]' > licences.json
        reports: [{ kind: pip-licenses, path: licences.json }]
`;
    expect(await run(audit, { more: licences })).toMatchObject({
      verdict: 'errored',
      detail: expect.stringContaining('a policy of licences and no report that names any'),
    });
    expect(await run(`${audit}${named}`, { more: licences })).toMatchObject({ verdict: 'passed' });
    expect(await run(`${named}${audit}`, { more: licences })).toMatchObject({ verdict: 'passed' });
    // The lists of images name them as well, before anything is pushed.
    const images = 'images: [{ name: app, context: app }]\n';
    expect(await run(audit, { more: `${licences}${images}` })).toMatchObject({ verdict: 'passed' });
    const apart = licences.replace('[MIT]', '[MIT], images: off');
    expect(await run(audit, { more: `${apart}${images}` })).toMatchObject({ verdict: 'errored' });
  });

  test('without reports and gates a stage is what it was', async () => {
    const report = await run(`
  - name: test
    steps: [{ name: unit, run: ["true"] }]
`);
    expect(report).not.toHaveProperty('gates');
    expect(report).not.toHaveProperty('evidence');
  });
});

describe('reports of coverage that are uploaded', () => {
  const lcov = 'TN:\nSF:a.py\nDA:1,1\nLF:1\nLH:1\nend_of_record\n';
  const written = stage(
    `printf '${lcov.replaceAll('\n', '\\n')}' > lcov.info\necho "$TOKEN" >> lcov.info`,
    '{ kind: lcov, path: lcov.info }',
    'secrets: [TOKEN]',
  );
  const key = 'reports/hello/1/test.coverage/0';

  test('are kept as they are, without secrets, where the project says so', async () => {
    fixture.secrets.set('TOKEN', '#a-secret-token');
    fixture.projectYaml = fixture.projectYaml.replace(
      'secrets: [{ env: WEBHOOK }] } }',
      'secrets: [{ env: WEBHOOK }] }, coverage: { kind: codecov, service: github, token: { env: CODECOV } } }',
    );
    const report = await run(written);
    expect((await evidenceOf(report)).reports).toMatchObject([{ state: 'read', kind: 'lcov' }]);
    const kept = await text(await fixture.blobs.read(key));
    expect(kept).toBe(`${lcov}***\n`);
  });

  test('and are not kept elsewhere', async () => {
    fixture.secrets.set('TOKEN', '#a-secret-token');
    await run(written);
    expect(await fixture.blobs.size(key)).toBeUndefined();
  });
});
