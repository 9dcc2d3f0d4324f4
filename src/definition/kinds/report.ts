import { z } from 'zod';
import { gateNames } from '../../domain/gate.ts';
import { reportKinds } from '../../domain/report.ts';
import { InnerPath, mustBe } from '../scalars.ts';

/** Patterns are matched with every file of the workspace, so what multiplies the work is refused. */
export const ReportPath = InnerPath.max(200, { error: 'is longer than the 200 characters a pattern may have' })
  .regex(/^[^()!]+$/, { error: 'may hold `*`, `**`, `?` and `{a,b}` only' })
  .refine(
    (pattern) =>
      (pattern.match(/\*+/g) ?? []).length <= 8 && pattern.split('{').length <= 4 && pattern.split('**/').length <= 4,
    { error: 'has too many `*`, `**/` or `{…}`; write several reports' },
  );

/** A report that a step leaves in the workspace. */
export const ReportDefinition = z.strictObject({
  kind: z
    .enum([...reportKinds, 'html'], { error: mustBe(`one of ${reportKinds.join(', ')}, html`) })
    .describe('Form of the report. `html`: pages for people, a file or a folder, kept and shown as they are.'),
  path: ReportPath.describe(
    'File from the root of the repository; `*` is anything but `/`, `**` anything, `{NAME}` a value of the matrix. One that is not there is errored.',
  ),
  gate: z
    .enum(gateNames)
    .describe('Gate that it is judged by. Default: that of its kind; for `sarif` it is `code-security`.')
    .exactOptional(),
});

/** Reports of a step or a stage. */
export const Reports = z
  .array(ReportDefinition)
  .max(50, { error: 'must have at most 50 reports' })
  .describe('Reports that are read when the stage has ended, also when a step failed.')
  .default([]);
