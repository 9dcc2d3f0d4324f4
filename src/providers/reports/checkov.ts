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
const count = z.number().int().nonnegative();
const Summary = z.looseObject({
  passed: count,
  failed: count,
  skipped: count.optional(),
  parsing_errors: count,
  checkov_version: z.string().optional(),
});

/**
 * checkov's JSON: one object, or a list of one for each framework. Severities come from its platform only. With `--quiet` it lists nothing but what
 * failed, and counts the rest.
 */
export const checkov: ReportReader = {
  kind: 'checkov',
  made: 'checkov -d . --output json > checkov.json',
  maxBytes: mostStreamedBytes,
  async read(given) {
    const { first, source } = await peek(given);
    const within = first === '[' ? '*/' : '';
    const findings = createFindings('checkov');
    const counts = { passed: 0, failed: 0, skipped: 0, unparsed: 0 };
    const listed = { failed: 0, skipped: 0 };
    let version: string | undefined;
    const unparsed: string[] = [];
    await readJson(source, {
      maxBytes: this.maxBytes,
      needs: { '': first === '[' ? 'array' : 'object' },
      picks: {
        [`${within}results/parsing_errors/*`]: each(z.string(), (file) => unparsed.push(oneLine(file, 200))),
        [`${within}results/failed_checks/*`]: each(Failed, (one) => {
          listed.failed += 1;
          findings.add(findingOf(one));
        }),
        // A comment beside what is checked, such as `#checkov:skip=CKV_AWS_18:no log of logs`. Whether it would have failed is not said.
        [`${within}results/skipped_checks/*`]: each(Failed, (one) => {
          listed.skipped += 1;
          const why = one.check_result?.suppress_comment ?? '';
          findings.putAside(findingOf(one), `skipped in the source: ${why === '' ? 'without a reason' : why}`);
        }),
        [`${within}summary`]: each(Summary, ({ passed, failed, skipped = 0, parsing_errors, checkov_version }) => {
          counts.passed += passed;
          counts.failed += failed;
          counts.skipped += skipped;
          counts.unparsed += parsing_errors;
          version = checkov_version === undefined ? version : oneLine(checkov_version, 60);
        }),
      },
    });
    const errors = Math.max(counts.unparsed, unparsed.length);
    if (errors > 0) {
      throw new UnreadableReport(`says that checkov could not read ${namesOf(unparsed, errors)}`, {
        remedy: `Correct the files, or leave them out with \`--skip-path\`${unparsed.length > 0 ? '' : '; without `--quiet` the report names them'}.`,
      });
    }
    if (counts.failed > listed.failed) {
      throw new UnreadableReport(
        `counts ${counted(counts.failed, 'failed check')} and lists ${listed.failed} of them`,
        {
          remedy: 'Write the report with all of its checks.',
        },
      );
    }
    const checks = counts.passed + counts.failed;
    if (checks === 0) throw new UnreadableReport('says that checkov found nothing to check');
    const unlisted = counts.skipped - listed.skipped;
    if (unlisted > 0) {
      const skipped = { rule: 'skipped', severity: 'unknown', message: '' } as const;
      findings.putAside(skipped, 'skipped in the source; with `--quiet` checkov does not say what and why', unlisted);
    }
    return {
      tool: { name: 'checkov', ...(version === undefined ? {} : { version }) },
      lookedAt: counted(checks, 'check'),
      ...findings.done(),
    };
  },
};

/** The first of them by name, the others by number; only a number where none has a name. */
function namesOf(names: readonly string[], number: number): string {
  const named = names.slice(0, 3);
  if (named.length === 0) return counted(number, 'file');
  return `${named.join(', ')}${number > named.length ? ` and ${number - named.length} more` : ''}`;
}

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
