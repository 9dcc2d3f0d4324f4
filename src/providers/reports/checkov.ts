import { z } from 'zod';
import { counted } from '../../domain/counted.ts';
import { type RawFinding, createFindings, fileOf, oneLine, severityOf } from './findings.ts';
import { each, readJson } from './json.ts';
import { peek } from './peek.ts';
import { type ReportReader, UnreadableReport, mostStreamedBytes } from './port.ts';

const Failed = z.looseObject({
  check_id: z.string(),
  check_name: z.string().nullable().optional(),
  severity: z.string().nullable().optional(),
  file_path: z.string(),
  repo_file_path: z.string().nullable().optional(),
  file_line_range: z.array(z.number()).nullable().optional(),
  resource: z.string().nullable().optional(),
  check_result: z.looseObject({ suppress_comment: z.string().nullable().optional() }).nullable().optional(),
});
type Failed = z.output<typeof Failed>;
const Summary = z.looseObject({
  passed: z.number(),
  failed: z.number(),
  parsing_errors: z.number(),
  checkov_version: z.string().optional(),
});

/** checkov's JSON: one object, or a list of one for each framework. Severities come from its platform only. */
export const checkov: ReportReader = {
  kind: 'checkov',
  made: 'checkov -d . --output json > checkov.json',
  maxBytes: mostStreamedBytes,
  async read(given) {
    const { first, source } = await peek(given);
    const within = first === '[' ? '*/' : '';
    const findings = createFindings('checkov');
    let checks = 0;
    let version: string | undefined;
    const unparsed: string[] = [];
    await readJson(source, {
      maxBytes: this.maxBytes,
      needs: { '': first === '[' ? 'array' : 'object' },
      picks: {
        [`${within}results/parsing_errors/*`]: each(z.string(), (file) => unparsed.push(oneLine(file, 200))),
        [`${within}results/failed_checks/*`]: each(Failed, (one) => findings.add(findingOf(one))),
        // A comment beside what is checked, such as `#checkov:skip=CKV_AWS_18:no log of logs`. Whether it would have failed is not said.
        [`${within}results/skipped_checks/*`]: each(Failed, (one) => {
          const why = one.check_result?.suppress_comment ?? '';
          findings.putAside(findingOf(one), `skipped in the source: ${why === '' ? 'without a reason' : why}`);
        }),
        [`${within}summary`]: each(Summary, ({ passed, failed, checkov_version }) => {
          checks += passed + failed;
          version = checkov_version === undefined ? version : oneLine(checkov_version, 60);
        }),
      },
    });
    if (unparsed.length > 0) {
      throw new UnreadableReport(`says that checkov could not read ${unparsed.slice(0, 3).join(', ')}`, {
        remedy: 'Correct the files, or leave them out with `--skip-path`.',
      });
    }
    if (checks === 0) throw new UnreadableReport('says that checkov found nothing to check');
    return {
      tool: { name: 'checkov', ...(version === undefined ? {} : { version }) },
      lookedAt: counted(checks, 'check'),
      ...findings.done(),
    };
  },
};

function findingOf(one: Failed): RawFinding {
  const file = (one.repo_file_path ?? one.file_path).replace(/^\/+/, '');
  return {
    rule: one.check_id,
    severity: severityOf(one.severity),
    message: one.check_name ?? one.check_id,
    file: fileOf(file, { base: '.' }),
    line: one.file_line_range?.[0],
    identity: `${one.check_name ?? ''} ${one.resource ?? ''}`,
  };
}
