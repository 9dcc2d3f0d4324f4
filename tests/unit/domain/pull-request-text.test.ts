import { describe, expect, test } from '@jest/globals';
import { type PullRequestReport, renderPullRequest } from '../../../src/domain/pull-request-text.ts';
import { renderReleaseNotes } from '../../../src/domain/release-notes.ts';
import type { Plan } from '../../../src/domain/plan.ts';
import { noCounts } from '../../../src/domain/report.ts';

const hostile =
  '<img src=x onerror=alert(1)> [a](javascript:alert(1)) ![x](http://evil/x) `code` _emphasis_ @everyone #1\n## heading | cell -->';

const report: PullRequestReport = {
  run: 12,
  commit: 'a'.repeat(40),
  outcome: 'failed',
  reason: hostile,
  url: 'https://slipway.example.com/v1/projects/shop/runs/12',
  stages: [{ name: 'test', verdict: 'failed', durationMs: 1_500 }],
  tests: {
    total: 10,
    failed: 1,
    errored: 0,
    skipped: 2,
    durationMs: 1_500,
    failures: [{ name: hostile, kind: 'failed', message: hostile }],
  },
  coverage: 0.75,
  base: { name: 'run 11 of main', coverage: 0.8 },
  gates: [
    {
      gate: 'code-security',
      verdict: 'failed',
      blocks: true,
      reason: hostile,
      fresh: { ...noCounts, critical: 1, low: 2 },
      findings: [{ rule: 'B602', severity: 'critical', message: hostile, file: 'a|b.py', line: 3, fingerprint: 'f' }],
      known: 4,
      suppressed: 1,
    },
  ],
  preview: {
    into: 'main',
    ignored: null,
    environments: [
      {
        name: 'production',
        live: '11-aaaaaaa',
        approval: true,
        held: hostile,
        change: {
          commits: 3,
          filesChanged: 5,
          linesChanged: 80,
          migrations: [{ name: '003_orders.sql', kind: 'contract' }],
        },
        risk: { level: 'high', score: 65, reasons: ['003_orders.sql breaks the previous release.'] },
      },
    ],
  },
};

describe('what a pull request reads', () => {
  test('is how the run ended, what is new, and what a merge would deploy', () => {
    const comment = renderPullRequest(report);
    expect(comment).toContain(
      '**failed**: run 12 of `aaaaaaaaaaaa` ([page](https://slipway.example.com/v1/projects/shop/runs/12))',
    );
    expect(comment).toContain('| test | failed | 1.5 s |');
    expect(comment).toContain('- 10 tests: 1 failed, 2 skipped.');
    expect(comment).toContain('75.00 % of the lines are covered, −5.00 points against run 11 of main (80.00 %).');
    expect(comment).toContain('| code\\-security | failed, stops it | 1 critical, 2 low | 4 known, 1 suppressed |');
    expect(comment).toContain('- code-security: **critical** `B602` `a¦b.py:3`');
    expect(comment).toContain('- **production**: the next build of `main`, instead of `11-aaaaaaa`, after approval.');
    expect(comment).toContain('3 commits, 5 files, 80 lines.');
    expect(comment).toContain('Migrations: `003_orders.sql` (contract).');
    expect(comment).toContain('Risk high (65) as of now: 003\\_orders.sql breaks the previous release.');
  });

  test('says what could not be found out, and what leads nowhere', () => {
    const bare = { ...report, tests: null, gates: [], base: null };
    expect(renderPullRequest(bare)).toContain('75.00 % of the lines are covered; there is nothing to compare with.');
    expect(renderPullRequest({ ...report, coverage: null })).toContain(
      '- Coverage was not measured; run 11 of main has 80.00 % of the lines.',
    );
    expect(renderPullRequest({ ...report, base: null })).toContain('every finding counts as new');
    const [environment] = report.preview!.environments;
    const first = { ...environment!, live: null, approval: false, held: null, change: null, risk: null };
    const page = renderPullRequest({ ...report, preview: { into: 'main', ignored: null, environments: [first] } });
    expect(page).toContain('the next build of `main`, as its first release.');
    expect(page).toContain('What it would change there could not be found out.');
    const to = (preview: PullRequestReport['preview']): string => renderPullRequest({ ...report, preview });
    expect(to({ into: 'docs', ignored: null, environments: [] })).toContain('a push of `docs` is checked');
    expect(to({ into: 'docs', ignored: 'No route.', environments: [] })).toContain('Nothing: No route.');
    expect(to(null)).not.toContain('merge');
  });

  test('takes nothing of what others wrote for Markdown or HTML', () => {
    const comment = renderPullRequest(report);
    // Outside of code there is no markup of theirs.
    const outside = comment.replaceAll(/(`+)(?!`).*?[^`]\1(?!`)/g, '');
    for (const markup of [
      /(?<!\\)<img/,
      /(?<!\\)\[a\]/,
      /(?<!\\)!\[/,
      /(?<!\\)@everyone/,
      /^## heading/m,
      /(?<!\\)-->/,
    ]) {
      expect(outside).not.toMatch(markup);
    }
    expect(outside).not.toMatch(/http:\/\/evil/);
  });

  test('is never longer than a forge takes, whatever was found', () => {
    const finding = report.gates[0]!.findings[0]!;
    const gates = Array.from({ length: 400 }, () => ({
      ...report.gates[0]!,
      findings: Array.from({ length: 20 }, () => ({ ...finding, message: hostile.repeat(100) })),
    }));
    const comment = renderPullRequest({ ...report, gates });
    expect(comment.length).toBeLessThan(30_100);
    expect(comment).toContain('The rest is too long for a comment');
    expect(comment).toContain('| test | failed | 1.5 s |');
  });
});

describe('the notes of a release', () => {
  const plan = {
    deployment: { project: 'shop', environment: 'production', number: 7 },
    changes: {
      fromVersion: '11-aaaaaaa',
      commits: [{ sha: 'b'.repeat(40), author: 'Ada <@ada>', subject: hostile }],
      filesChanged: 5,
      linesChanged: 80,
      configurationKeys: [],
    },
    identity: { migrations: [{ name: '003_orders.sql', checksum: 'c', kind: 'expand' }] },
  } as unknown as Plan;

  test('are its commits and migrations, with nothing of them as markup', () => {
    const notes = renderReleaseNotes(plan);
    expect(notes).toContain('Live in production by deployment 7.');
    expect(notes).toContain('Since `11-aaaaaaa`: 5 files and 80 lines changed.');
    expect(notes).toContain('(`bbbbbbbbbb`, Ada \\<\\@ada\\>)');
    expect(notes).toContain('- `003_orders.sql` (expand)');
    expect(notes).not.toMatch(/(?<!\\)<img|(?<!\\)@everyone|^## heading/m);
  });

  test('of the first release say so', () => {
    const first = { ...plan, changes: { ...plan.changes, fromVersion: null, commits: [] } };
    expect(renderReleaseNotes(first)).toContain('The first release there.');
  });
});
