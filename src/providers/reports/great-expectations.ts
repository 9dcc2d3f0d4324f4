import { z } from 'zod';
import { type TestFailure, mostFailures } from '../../domain/report.ts';
import { counted } from '../../domain/counted.ts';
import { createFindings, oneLine } from './findings.ts';
import { each, readJson } from './json.ts';
import { type ReportReader, UnreadableReport, mostStreamedBytes } from './port.ts';

const Result = z.looseObject({
  success: z.boolean(),
  expectation_config: z.looseObject({
    type: z.string().optional(),
    expectation_type: z.string().optional(),
    kwargs: z.looseObject({ column: z.string().optional() }).optional(),
  }),
  result: z.looseObject({ unexpected_percent: z.number().nullable().optional() }).nullable().optional(),
  // Of the expectation itself, or of each figure that it needs.
  exception_info: z.record(z.string(), z.unknown()).nullable().optional(),
});
/** The short form of a checkpoint (`describe_dict`). */
const Described = z.looseObject({
  success: z.boolean(),
  expectation_type: z.string(),
  kwargs: z.looseObject({ column: z.string().optional() }).optional(),
  result: z.looseObject({ unexpected_percent: z.number().nullable().optional() }).nullable().optional(),
});
type Result = z.output<typeof Result>;
const Statistics = z.looseObject({ evaluated_expectations: z.number().int().nonnegative().optional() });

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
    let declared = 0;
    const word = { failed: false };
    const take = (one: Result): void => {
      figures.total += 1;
      if (one.success) return;
      const kind = hasRaised(one.exception_info) ? 'errored' : 'failed';
      figures[kind] += 1;
      if (failures.length < mostFailures) failures.push({ name: nameOf(one), kind, message: messageOf(one, kind) });
    };
    const result = each(Result, take);
    const described = each(Described, ({ expectation_type, kwargs = {}, ...one }) =>
      take({ ...one, expectation_config: { type: expectation_type, kwargs } }),
    );
    const meta = each(z.string(), (text) => (version = oneLine(text, 60)));
    // Those of a checkpoint count validations instead.
    const statistics = each(Statistics, ({ evaluated_expectations }) => {
      if (evaluated_expectations === undefined) return;
      validations += 1;
      declared += evaluated_expectations;
    });
    // The word of a validation, or of the whole checkpoint, comes before or after its expectations.
    const said = each(z.boolean(), (success) => {
      word.failed ||= !success;
    });
    const forms = ['', 'run_results/*/validation_result/', 'run_results/*/', 'validation_results/*/'];
    await readJson(source, {
      maxBytes: this.maxBytes,
      needs: { success: 'value' },
      picks: Object.fromEntries(
        forms.flatMap((form) => [
          [`${form}results/*`, result],
          [`${form}expectations/*`, described],
          [`${form}statistics`, statistics],
          [`${form}success`, said],
          [`${form}meta/great_expectations_version`, meta],
        ]),
      ),
    });
    if (declared > figures.total) {
      throw new UnreadableReport(`names ${figures.total} of the ${declared} expectations that were evaluated`, {
        remedy: 'Write the whole result, without leaving any expectation out.',
      });
    }
    if (word.failed && figures.failed + figures.errored === 0) {
      figures.total += 1;
      figures.failed += 1;
      failures.push({
        name: 'the validation',
        kind: 'failed',
        message: 'It says that it failed, and every expectation that it lists was met.',
      });
    }
    return {
      tool: { name: 'Great Expectations', ...(version === undefined ? {} : { version }) },
      lookedAt: `${counted(figures.total, 'expectation')} in ${counted(validations, 'validation')}`,
      ...createFindings('great-expectations').done(),
      tests: { ...figures, durationMs: 0, failures },
    };
  },
};

function hasRaised(info: Result['exception_info']): boolean {
  if (info === null || info === undefined) return false;
  if (info['raised_exception'] === true) return true;
  return Object.values(info).some(
    (one) => typeof one === 'object' && one !== null && 'raised_exception' in one && one.raised_exception === true,
  );
}

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
