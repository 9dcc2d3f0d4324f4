import { describe, expect, test } from '@jest/globals';
import { deploymentNext, deploymentPage } from '../../../src/cli/pages/deployment.ts';
import { byUrgency, columnsOf, environmentNext, environmentPage, runList } from '../../../src/cli/pages/lists.ts';
import { planPage } from '../../../src/cli/pages/plan.ts';
import { summarise } from '../../../src/domain/infrastructure.ts';
import type { RunPlan } from '../../../src/domain/run.ts';
import { runPage } from '../../../src/cli/pages/run.ts';
import { withoutControls } from '../../../src/effects/control.ts';
import { createPainter } from '../../../src/cli/words.ts';
import { aDeployment, aPlan, aRun, anEnvironment, at } from '../../support/story-records.ts';

const screen = { paint: createPainter({ colour: false, ascii: false }), nowMs: Date.parse(at(600)), columns: 100 };

describe('the page of a run', () => {
  test('names the documentation that it has left', () => {
    const address = '/v1/projects/hello/runs/4/documentation/docs/api/index.html';
    const page = runPage(aRun({ documentation: [{ stage: 'docs', name: 'api', address }] }), screen);
    expect(page).toContain(`  documentation docs/api at ${address}`);
  });

  test('says how it stands, and shows the steps of what went wrong with their last words', () => {
    const page = runPage(
      aRun({
        outcome: 'failed',
        reason: 'Step unit of stage test failed.',
        stages: [
          {
            name: 'quality',
            verdict: 'passed',
            detail: null,
            startedAt: at(0),
            durationMs: 2_000,
            steps: [
              { name: 'syntax', verdict: 'passed', exitCode: 0, detail: null, startedAt: at(0), durationMs: 900 },
            ],
          },
          {
            name: 'test',
            verdict: 'failed',
            detail: null,
            startedAt: at(2),
            durationMs: 3_000,
            steps: [
              {
                name: 'unit',
                verdict: 'failed',
                exitCode: 1,
                detail: 'exit code 1\nnot ok 3',
                startedAt: at(2),
                durationMs: 3_000,
              },
            ],
          },
        ],
      }),
      screen,
    );
    const lines = page.split('\n');
    expect(lines[0]).toBe('hello#4  ✖ failed  4-abcdef12');
    expect(page).toContain('Step unit of stage test failed.');
    expect(page).toContain('    not ok 3');
    expect(page).toMatch(/✖ {3}unit/);
    expect(page).not.toContain('syntax');
  });

  test('leads to its deployments by the names that commands take', () => {
    const page = runPage(
      aRun({ deployments: [{ project: 'hello', environment: 'production', number: 3, outcome: 'rolled-back' }] }),
      screen,
    );
    expect(page).toContain('↩ rolled-back  hello/production/3');
  });

  test('warns about a machine that has too little', () => {
    const plan = { warnings: ['this worker has 1 core, wanted 4'] } as unknown as RunPlan;
    expect(runPage(aRun({ plan }), screen)).toContain('  warning: this worker has 1 core, wanted 4');
    expect(runPage(aRun({}), screen)).not.toContain('warning:');
  });

  test('that waits for its turn says for whom, with how many before it, and until when; so does its line in a list', () => {
    const queue = { since: at(540), until: at(4_200), position: 3, waitsFor: 1 };
    const run = aRun({ outcome: null, phase: 'queued', settledAt: null, queue });
    const lines = runPage(run, screen).split('\n');
    expect(lines[0]).toBe('hello#4  ◌ queued  4-abcdef12');
    expect(lines).toContain('  Waits for run 1, with 2 more before it. Since 1 min ago; expires in 1 h.');
    expect(runList([run], { ...screen, columns: 200 })).toContain('Waits for run 1, with 2 more before it.');
    const next = aRun({ outcome: null, phase: 'queued', queue: { ...queue, position: 0, waitsFor: null } });
    expect(runPage(next, screen)).toContain('Its turn has come.');
    expect(runList([next], screen)).not.toContain('Waits for');
  });
});

describe('the page of a deployment', () => {
  test('says where it is, with moments as a person counts them', () => {
    const watched = aDeployment({ outcome: null, phase: 'watching', phaseDetail: `until ${at(720)}` });
    expect(deploymentPage(watched, screen)).toContain('\n  watching: ends in 2 min\n');
  });

  test.each([60, 80, 101, 130])('has no line of its steps beyond %i columns', (columns) => {
    const detail =
      'container passed (6 ms), health passed (7 ms), version passed (8 ms), and more that does not fit here';
    const steps = ['probe through the router', 'watch'].map((name, index) => {
      return { key: name, name, verdict: 'passed', detail, startedAt: at(index), durationMs: 900 } as const;
    });
    const page = deploymentPage(aDeployment({ outcome: null, phase: 'awaiting-approval', steps }), {
      ...screen,
      columns,
    });
    const lines = page.split('\n').filter((line) => line.startsWith('  ✔ '));
    expect(lines).toHaveLength(2);
    expect(Math.max(...lines.map(({ length }) => length))).toBeLessThanOrEqual(columns);
  });

  test('tells a rollback by its headings, with traffic, data and incident', () => {
    const page = deploymentPage(
      aDeployment({
        outcome: 'rolled-back',
        reason: 'Errors were 9.8 % over 5 s, above 5 %. 2-beef serves again.',
        result: {
          project: 'hello',
          environment: 'production',
          number: 3,
          outcome: 'rolled-back',
          reason: 'x',
          steps: [],
          rollback: {
            trigger: 'Errors were 9.8 % over 5 s, above 5 %.',
            to: '2-beef',
            totalMs: 4_200,
            servingAfterMs: 90,
            incident: 'incident/hello/production/3',
            steps: [
              { name: 'restore-data', verdict: 'passed', startedAt: at(0), durationMs: 240_000, targetMs: 180_000 },
            ],
            data: {
              action: 'swapped',
              detail: 'swapped by rename',
              damagedDatabase: 'hello_damaged_3',
              laterWrites: { inserted: 12, updated: 0, deleted: 0, blob: 'b/1' },
            },
          },
        },
      }),
      screen,
    );
    expect(page).toContain('rolled back to 2-beef in 4.2 s, the previous version serving after 90 ms');
    expect(page).toContain('over its target');
    expect(page).toContain('hello_damaged_3');
    expect(page).toContain('12 inserted, 0 updated, 0 deleted, kept in b/1');
    expect(page).toContain('incident/hello/production/3');
  });

  test('a rollback that was given up is not called one', () => {
    const rollback = { trigger: 'checkout is slow', to: '2-beef', totalMs: 4_800, steps: [] };
    const ended = {
      project: 'hello',
      environment: 'production',
      number: 3,
      outcome: 'rollback-failed',
      reason: 'x',
      steps: [],
    } as const;
    const page = deploymentPage(
      aDeployment({ kind: 'rollback', outcome: 'rollback-failed', reason: 'x', result: { ...ended, rollback } }),
      screen,
    );
    expect(page).toContain('✖ going back to 2-beef was given up after 4.8 s');
    expect(page).not.toContain('rolled back');
  });

  test('a decision that did not count says why', () => {
    const page = deploymentPage(
      aDeployment({
        decisions: [
          {
            by: 'linus',
            verdict: 'approve',
            counted: false,
            why: 'linus is the author of the change and cannot approve it.',
            plan: 'x',
            comment: null,
            proven: true,
            at: at(1),
          },
        ],
      }),
      screen,
    );
    expect(page).toContain('linus approved, which did not count: linus is the author');
  });

  test('what waits for approval ends with the commands, plan and all', () => {
    const commands = deploymentNext(aDeployment({ phase: 'awaiting-approval', plan: aPlan() })).map(
      ({ command }) => command,
    );
    expect(commands).toContain('slipway approve hello/production/3 --plan 1f3a2b4c');
  });

  test('a hold offers to go back where nothing was taken back, and the rest of the undoing where it was', () => {
    const first = (rollback: boolean) =>
      deploymentNext(
        aDeployment({
          outcome: 'held',
          phase: 'closed',
          result: {
            project: 'hello',
            environment: 'production',
            number: 3,
            outcome: 'held',
            reason: 'why',
            steps: [],
            ...(rollback ? { rollback: { trigger: 'errors', steps: [], totalMs: 1 } } : {}),
          },
        }),
      )[0]?.command;
    expect(first(false)).toBe('slipway rollback hello/production --reason "…"');
    expect(first(true)).toBe('slipway retry hello/production --reason "…"');
  });

  test('a success by a watch that saw nothing says so', () => {
    const closed = { outcome: 'succeeded', phase: 'closed', reason: 'Only 3 requests were seen.' } as const;
    const result = {
      project: 'hello',
      environment: 'production',
      number: 3,
      reason: '',
      steps: [],
      outcome: closed.outcome,
    };
    const page = (watch: 'passed' | 'inconclusive') =>
      deploymentPage(aDeployment({ ...closed, result: { ...result, watch } }), screen);
    expect(page('inconclusive')).toContain('Only 3 requests were seen.');
    expect(page('passed')).not.toContain('Only 3 requests');
  });

  test('every outcome after which a person must act names an act', () => {
    for (const outcome of ['held', 'rollback-failed', 'rollback-unavailable'] as const) {
      expect(deploymentNext(aDeployment({ outcome, phase: 'closed' })).length).toBeGreaterThan(0);
    }
  });
});

describe('the page of an environment', () => {
  test('says of a previous release that is stopped that a rollback starts it, and names no slot', () => {
    const previous = { ...anEnvironment().live!, version: '1-abad' };
    const line = (changes: Parameters<typeof anEnvironment>[0]) =>
      environmentPage(anEnvironment({ previous, ...changes }), screen).split('\n')[2];
    expect(line({ previousStopped: true })).toMatch(
      /^ {2}previous {2}1-abad, \w+, stopped: a rollback starts it again$/,
    );
    expect(line({ retireAt: at(4_200) })).toMatch(/1-abad in (blue|green), .*, to be stopped in 1 h/);
  });

  test('offers another try at an undoing that failed, and none where nothing was undone', () => {
    const commands = (state: 'incident' | 'unknown') =>
      environmentNext(anEnvironment({ hold: { state, since: at(540), reason: 'why', by: 'slipway' } })).map(
        ({ command }) => command.split(' ')[1],
      );
    expect(commands('incident')).toContain('retry');
    expect(commands('unknown')).not.toContain('retry');
  });

  test('a hold has a face and a way out', () => {
    const view = anEnvironment({
      hold: { state: 'incident', since: at(540), reason: 'deployment 3 was rolled back', by: 'slipway' },
    });
    expect(environmentPage(view, screen)).toContain(
      '✖ incident since 1 min ago by slipway: deployment 3 was rolled back',
    );
    expect(environmentNext(view).map(({ command }) => command)).toContain(
      'slipway unlock hello/production --state-is 2-beef --reason "…"',
    );
  });
});

describe('the page of a plan', () => {
  test('shows what changes, what could go wrong, and who must agree', () => {
    const page = planPage(aPlan(), screen.paint);
    expect(page).toContain('Plan 1f3a2b4c for hello/production/3');
    expect(page).toContain('2-beef → 4-abcdef12');
    expect(page).toContain('003_pinned.sql (expand)');
    expect(page).toContain('1 of tech-lead, within 30 min, not by its author or whoever brought it here');
    const { policy, ...plan } = aPlan();
    const strict = { ...plan, policy: { ...policy, approval: { ...policy.approval, requireProof: true } } };
    expect(planPage(strict, screen.paint)).toContain('1 of tech-lead, proven by the API, within 30 min');
    expect(page).toContain('medium (40/100)');
    expect(page).not.toContain('infrastructure');
  });

  test('shows what would become of the infrastructure by address, and that it is not taken back', () => {
    const summary = summarise(
      Array.from({ length: 51 }, (_, index) => ({ address: `a.x[${index}]`, action: 'destroy' as const })),
      ['url'],
    );
    const infrastructure = { kind: 'terraform', plan: 'abcdef0123', tool: 'terraform 1.11.4', summary };
    const page = planPage({ ...aPlan(), infrastructure }, screen.paint);
    expect(page).toContain('51 to destroy (terraform 1.11.4, saved plan abcdef01)');
    expect(page).toContain('destroy a.x[0]');
    expect(page).toContain('and 1 more');
    expect(page).toContain('outputs: url');
    expect(page).toContain('never taken back by itself');
    const begun = planPage({ ...aPlan(), infrastructure: { kind: 'terraform', plan: '' } }, screen.paint);
    expect(begun).toContain('is being planned with terraform');
  });
});

describe('lists', () => {
  test('what waits for somebody comes first', () => {
    const order = byUrgency([
      { outcome: 'succeeded', phase: 'closed', n: 1 },
      { outcome: null, phase: 'checking', n: 2 },
      { outcome: null, phase: 'awaiting-approval', n: 3 },
    ]).map(({ n }) => n);
    expect(order).toEqual([3, 2, 1]);
  });

  test('columns line up whatever their colours, and the last one is cut to the terminal', () => {
    const lines = columnsOf(
      [
        ['\u001b[31mab\u001b[39m', 'x'.repeat(100)],
        ['abcd', 'y'],
      ],
      30,
    );
    expect(lines[0]).toBe(`\u001b[31mab\u001b[39m    ${'x'.repeat(23)}…`);
    expect(lines[1]).toBe('abcd  y');
  });

  test('an empty list says so', () => {
    expect(runList([], screen)).toBe('No runs yet.');
  });
});

describe('foreign text on a terminal', () => {
  test('keeps its colours and loses what moves the cursor, renames the window or rings', () => {
    const text = '\u001b[31mred\u001b[0m\u001b[2J\u001b]0;title\u0007\u001b[1;1H\u0007end\r\n';
    expect(withoutControls(text)).toBe('\u001b[31mred\u001b[0mend\r\n');
  });
});
