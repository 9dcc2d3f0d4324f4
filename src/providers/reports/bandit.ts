import { z } from 'zod';
import { counted } from '../../domain/counted.ts';
import { createFindings, fileOf, oneLine, severityOf } from './findings.ts';
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
const Metrics = z.looseObject({ loc: z.number() });

/** bandit's JSON. A file that it could not parse makes the report errored: nobody looked at it. */
export const bandit: ReportReader = {
  kind: 'bandit',
  made: 'bandit -r . -f json -o bandit.json',
  maxBytes: mostStreamedBytes,
  async read(source) {
    const findings = createFindings('bandit');
    let files = -1;
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
        'metrics/*': each(Metrics, () => (files += 1)),
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
    return {
      tool: { name: 'bandit', ...(version === undefined ? {} : { version }) },
      lookedAt: counted(files, 'file'),
      ...findings.done(),
    };
  },
};
