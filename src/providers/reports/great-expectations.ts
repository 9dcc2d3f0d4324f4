import { z } from 'zod';
import { type TestFailure, mostFailures } from '../../domain/report.ts';
import { count, createFindings, oneLine } from './findings.ts';
import { each, readJson } from './json.ts';
import { type ReportReader, mostStreamedBytes } from './port.ts';

const Result = z.looseObject({
  success: z.boolean(),
  expectation_config: z.looseObject({
    type: z.string().optional(),
    expectation_type: z.string().optional(),
    kwargs: z.looseObject({ column: z.string().optional() }).optional(),
  }),
  result: z.looseObject({ unexpected_percent: z.number().nullable().optional() }).nullable().optional(),
  exception_info: z.looseObject({ raised_exception: z.boolean().optional() }).nullable().optional(),
});
type Result = z.output<typeof Result>;

/** Results of Great Expectations: one validation, or a checkpoint with several (docs.greatexpectations.io, 0.x and 1.x). */
export const greatExpectations: ReportReader = {
  kind: 'great-expectations',
  made: 'json.dump(checkpoint_result.to_json_dict(), file)',
  maxBytes: mostStreamedBytes,
  async read(source) {
    const figures = { total: 0, failed: 0, errored: 0, skipped: 0 };
    const failures: TestFailure[] = [];
    let version: string | undefined;
    let validations = 0;
    const result = each(Result, (one) => {
      figures.total += 1;
      if (one.success) return;
      const kind = one.exception_info?.raised_exception === true ? 'errored' : 'failed';
      figures[kind] += 1;
      if (failures.length < mostFailures) failures.push({ name: nameOf(one), kind, message: messageOf(one, kind) });
    });
    const meta = each(z.string(), (text) => (version = oneLine(text, 60)));
    const one = { take: () => void (validations += 1) };
    const forms = ['', 'run_results/*/validation_result/', 'run_results/*/', 'validation_results/*/'];
    await readJson(source, {
      maxBytes: this.maxBytes,
      needs: { success: 'value' },
      picks: Object.fromEntries(
        forms.flatMap((form) => [
          [`${form}results/*`, result],
          [`${form}statistics`, one],
          [`${form}meta/great_expectations_version`, meta],
        ]),
      ),
    });
    return {
      tool: { name: 'Great Expectations', ...(version === undefined ? {} : { version }) },
      lookedAt: `${count(figures.total, 'expectation')} in ${count(validations, 'validation')}`,
      ...createFindings('great-expectations').done(),
      tests: { ...figures, durationMs: 0, failures },
    };
  },
};

function nameOf({ expectation_config: { type, expectation_type, kwargs } }: Result): string {
  return oneLine([type ?? expectation_type ?? 'an expectation', kwargs?.column].filter(Boolean).join(' '), 300);
}

function messageOf({ result }: Result, kind: TestFailure['kind']): string {
  if (kind === 'errored') return 'It could not be evaluated.';
  const share = result?.unexpected_percent;
  return typeof share === 'number'
    ? `${share.toFixed(2)} % of the values are unexpected.`
    : 'The data are not as expected.';
}
