import { z } from 'zod';
import type { GateName } from '../../domain/gate.ts';
import { isLicence, licenceScopes } from '../../domain/licence.ts';
import { reportKinds } from '../../domain/report.ts';
import { Duration, InnerPath, Ratio, mustBe, quoted } from '../scalars.ts';

const Severity = z.enum(['critical', 'high', 'medium', 'low', 'info'], {
  error: mustBe('`critical`, `high`, `medium`, `low` or `info`'),
});

const Rule = z
  .string({ error: mustBe('the name of a rule, such as `B602` or `CVE-2024-3094`') })
  .min(2)
  .max(200)
  .regex(/^[^*\s]+\*?$/, { error: 'is the name of a rule, or its beginning with `*` at the end' });

const day = z.iso.date({ error: mustBe('a day such as `2026-12-31`') });

const Suppression = z.strictObject({
  rule: Rule.describe('As the tool names it, or its beginning with `*` at the end.'),
  file: InnerPath.describe(
    'Only in this file, or in this folder with `/**` at the end. Default: everywhere.',
  ).exactOptional(),
  component: z.string().min(1).max(200).describe('Only of this package. Default: any.').exactOptional(),
  reason: z
    .string({ error: mustBe('a reason, for whoever looks again') })
    .min(10, { error: 'must say why, in at least 10 characters' })
    .max(500)
    .describe('Why it may stay. Shown in every report.'),
  expires: day.describe('Last day on which it holds; then the finding counts again.'),
});

const Licence = z.string({ error: mustBe('an SPDX id such as `MIT`') }).refine((text) => isLicence(text), {
  error: (issue) => `${quoted(issue.input)} is no SPDX id; write \`MIT\` or \`GPL-3.0-only\``,
});

const mode = z
  .enum(['block', 'warn', 'off'])
  .describe(
    '`block`: what is not passed stops the run or the deployment. `warn`: it is told. `off`: not judged. Default: `warn`; `tests` blocks, and in production `access-control` and `compliance` do.',
  )
  .exactOptional();

const shared = {
  mode,
  reports: z
    .array(z.enum(reportKinds))
    .describe('Kinds of report without which the gate is errored. Default: any one will do.')
    .exactOptional(),
};

const ofFindings = {
  ...shared,
  severity: Severity.describe(
    'The least severity that counts. Default: `high`, in `quality` `low`. What a tool does not rate counts as `high`.',
  ).exactOptional(),
  allowed: z.number().int().min(0).describe('So many findings that count are let pass. Default: 0.').exactOptional(),
  baseline: z
    .enum(['none', 'last-release'])
    .describe('`last-release`: only findings that the last release does not have count. Default: `none`.')
    .exactOptional(),
  ratings: z
    .record(Rule, Severity)
    .describe("Severities by rule, over the tool's. Those of a repository only make a finding more severe.")
    .exactOptional(),
  suppressions: z
    .array(Suppression)
    .max(500)
    .describe('Findings that may stay for a while. They are listed in the report.')
    .exactOptional(),
};

const databaseAge = Duration.describe(
  'Oldest database of a scanner, where its report tells. Default: 7d. Judgement.',
).exactOptional();

/** What is asked of each gate; what is left out has its default. */
export const Gates = z
  .strictObject({
    tests: z.strictObject(shared).describe('No test fails. Default mode: `block`.').exactOptional(),
    coverage: z
      .strictObject({
        ...shared,
        min: Ratio.describe('Share of lines that must be covered. Default: 70%.').exactOptional(),
        critical: Ratio.describe('Below this it blocks whatever the mode is, `off` too. Default: 50%.').exactOptional(),
      })
      .describe('Coverage of the tests.')
      .exactOptional(),
    quality: z
      .strictObject({
        ...ofFindings,
        score: z.number().min(0).max(10).describe('Least score of pylint. Default: 7.').exactOptional(),
      })
      .describe('Linters, formatters, type checkers, SonarQube. pylint is judged by its score.')
      .exactOptional(),
    data: z.strictObject(shared).describe('Quality of data.').exactOptional(),
    'code-security': z.strictObject(ofFindings).describe('Gate 1: flaws and secrets in the code.').exactOptional(),
    dependencies: z
      .strictObject({
        ...ofFindings,
        databaseAge,
        licences: z
          .strictObject({
            allow: z
              .array(Licence)
              .describe('Only these may be used. Default: all that are not denied.')
              .exactOptional(),
            deny: z.array(Licence).describe('These never.').default([]),
            images: z
              .enum(licenceScopes)
              .describe(
                'Packages of built images, by the list that Slipway makes of them: `all`, those that are not of the distribution (`libraries`), or none (`off`). Default: `all`; in `slipway.yaml`: what the project says.',
              )
              .exactOptional(),
          })
          .describe('SPDX ids. Of `MIT OR GPL-3.0-only` one must be allowed, of `MIT AND GPL-3.0-only` both.')
          .exactOptional(),
      })
      .describe('Gate 2: known vulnerabilities, licences, outdated versions.')
      .exactOptional(),
    container: z
      .strictObject({
        ...ofFindings,
        databaseAge,
        imageAge: Duration.describe('Oldest base of an image. Default: 90d. Judgement.').exactOptional(),
      })
      .describe('Gate 3: images.')
      .exactOptional(),
    infrastructure: z.strictObject(ofFindings).describe('Infrastructure as code.').exactOptional(),
    'access-control': z
      .strictObject({ mode })
      .describe(
        'Gate 4, before a deployment: somebody must approve, no setting looks like a secret, every secret can be read. Always judged in production, where its default mode is `block` and what could not be found out blocks in any mode but `off`.',
      )
      .exactOptional(),
    compliance: z
      .strictObject({
        mode,
        backupAge: Duration.describe(
          'Oldest backup that was verified, where the deployment does not prove one before its change. Default: 24h.',
        ).exactOptional(),
      })
      .describe(
        'Gate 5, before a deployment: the audit record can be written, encryption at rest is declared, a backup was verified within `backupAge` or is before the change. Always judged in production, where its default mode is `block` and what could not be found out blocks in any mode but `off`.',
      )
      .exactOptional(),
  } satisfies Partial<Record<GateName, z.ZodType>>)
  .describe('What the reports must show. A gate that is named here and has no report is errored.');

export type Gates = z.output<typeof Gates>;
