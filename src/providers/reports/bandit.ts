import { z } from 'zod';
import { counted } from '../../domain/counted.ts';
import { type FindingSet, createFindings, fileOf, oneLine, severityOf } from './findings.ts';
import { each, readJson } from './json.ts';
import { type ReportReader, UnreadableReport, mostStreamedBytes } from './port.ts';

const Result = z.looseObject({
  test_id: z.string(),
  test_name: z.string().optional(),
  issue_severity: z.string(),
  issue_text: z.string(),
  filename: z.string(),
  line_number: z.number(),
  more_info: z.string().optional(),
});
const Failure = z.looseObject({ filename: z.string(), reason: z.string() });
const count = z.number().int().nonnegative();
/** `nosec` and `skipped_tests` are findings that a comment has silenced: one without rules, one that names them. */
const Metrics = z.looseObject({ loc: z.number(), nosec: count.optional(), skipped_tests: count.optional() });

/**
 * bandit's JSON. A file that it could not parse makes the report errored: nobody looked at it. What `# nosec` silences it counts and does not show,
 * so no rule and no severity of it is known.
 */
export const bandit: ReportReader = {
  kind: 'bandit',
  made: 'bandit -r . -f json -o bandit.json',
  maxBytes: mostStreamedBytes,
  async read(source) {
    const findings = createFindings('bandit');
    let files = -1;
    /** What `_totals` counts less what files do. */
    const rest = { nosec: 0, skipped: 0 };
    let version: string | undefined;
    await readJson(source, {
      maxBytes: this.maxBytes,
      needs: { results: 'array', metrics: 'object', errors: 'array' },
      picks: {
        'errors/*': each(Failure, ({ filename, reason }) => {
          throw new UnreadableReport(
            `says that bandit could not look at ${oneLine(filename, 200)}: ${oneLine(reason, 200)}`,
            {
              remedy: 'Correct the file, or leave it out with `exclude_dirs`.',
            },
          );
        }),
        // One of them is `_totals`.
        'metrics/*': each(Metrics, ({ nosec = 0, skipped_tests = 0 }, place) => {
          files += 1;
          const name = place.slice('metrics.'.length);
          const sign = name === '_totals' ? 1 : -1;
          rest.nosec += sign * nosec;
          rest.skipped += sign * skipped_tests;
          if (name === '_totals' || nosec + skipped_tests === 0) return;
          silenced(findings, { nosec, skipped: skipped_tests }, fileOf(name, source));
        }),
        'results/*': each(Result, (result) => {
          // A report has no version, but the links in it do.
          version ??= /readthedocs\.io\/en\/(\d+[\w.]*)\//.exec(result.more_info ?? '')?.[1];
          findings.add({
            rule: result.test_id,
            severity: severityOf(result.issue_severity),
            // B105 to B107 repeat the password that they found.
            message: /^B10[567]$/.test(result.test_id) ? (result.issue_text.split(':')[0] ?? '') : result.issue_text,
            file: fileOf(result.filename, source),
            line: result.line_number,
          });
        }),
      },
    });
    if (files < 1) throw new UnreadableReport('says that it looked at no file');
    silenced(findings, rest);
    return {
      tool: { name: 'bandit', ...(version === undefined ? {} : { version }) },
      lookedAt: counted(files, 'file'),
      ...findings.done(),
    };
  },
};

function silenced(
  findings: FindingSet,
  { nosec, skipped }: { readonly nosec: number; readonly skipped: number },
  file?: string,
): void {
  const finding = { rule: 'nosec', severity: 'unknown', message: '', file } as const;
  if (nosec > 0) findings.putAside(finding, '`# nosec` in the source, whatever the rule', nosec);
  if (skipped > 0) findings.putAside(finding, '`# nosec` in the source, for the rules that it names', skipped);
}
