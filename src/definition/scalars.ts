/** The small values that both documents are made of, each with one sentence for whoever wrote it wrongly. */
import { z } from 'zod';
import { patternProblem } from './patterns.ts';
import type { SecretRef } from './specs/secret.ts';

/** The sentence for a value of a wrong type. What is missing gets none of its own: then it is told what the setting is for. */
export function mustBe(what: string): (issue: { readonly input?: unknown }) => string | undefined {
  return ({ input }) => (input === undefined ? undefined : `must be ${what}`);
}

const unitsMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const durationForm = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/;

/** `250ms`, `30s`, `5m`, `24h`, `14d` → ms. */
export const Duration = z
  .string({ error: mustBe('a duration such as `30s`, `5m` or `24h`') })
  .regex(durationForm, { error: (issue) => `${quoted(issue.input)} is no duration; write \`30s\`, \`5m\` or \`24h\`` })
  .transform((text) => {
    const [, number = '0', unit = 'ms'] = durationForm.exec(text) ?? [];
    return Math.round(Number(number) * unitsMs[unit as keyof typeof unitsMs]);
  })
  .meta({ title: 'duration' });

const unitsBytes = { '': 1, Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, k: 1e3, M: 1e6, G: 1e9 } as const;
const sizeForm = /^(\d+(?:\.\d+)?)(Ki|Mi|Gi|k|M|G)$/;

/** `512Mi`, `2Gi`, `500M` → bytes. */
export const Size = z
  .string({ error: mustBe('a size such as `512Mi` or `2Gi`') })
  .regex(sizeForm, { error: (issue) => `${quoted(issue.input)} is no size; write \`512Mi\` or \`2Gi\`` })
  .transform((text) => {
    const [, number = '0', unit = ''] = sizeForm.exec(text) ?? [];
    return Math.round(Number(number) * unitsBytes[unit as keyof typeof unitsBytes]);
  })
  .meta({ title: 'size' });

const percentForm = /^(\d{1,3}(?:\.\d+)?)%$/;

/** `5%` or `0.05` → 0.05; never outside 0 to 1. */
export const Ratio = z
  .union([z.number().min(0).max(1), z.string().regex(percentForm)], {
    error: ({ input }) => (input === undefined ? undefined : `${quoted(input)} is no ratio; write \`5%\` or \`0.05\``),
  })
  .transform((value) => (typeof value === 'number' ? value : Number(percentForm.exec(value)?.[1]) / 100))
  .refine((value) => value <= 1, { error: 'must be at most 100%' })
  .meta({ title: 'ratio' });

/** Names of stages, steps, images, environments: they become parts of workflow ids, container names and paths. */
export const Name = z
  .string({ error: mustBe('a name') })
  .regex(/^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$/, {
    error: (issue) =>
      `${quoted(issue.input)} is no name here; use small letters, digits and single hyphens, a letter first`,
  })
  .max(40, { error: 'is longer than the 40 characters a name may have' })
  .meta({ title: 'name' });

/** Names of environment variables. */
export const VariableName = z
  .string()
  .regex(/^[A-Z_][A-Z0-9_]*$/, {
    error: (issue) => `${quoted(issue.input)} is no name of a variable; use capital letters, digits and \`_\``,
  })
  .meta({ title: 'variable' });

/** Settings: YAML numbers and booleans are taken as what they were written, so that `PORT: 8080` needs no quotes. */
export const Variables = z
  .record(
    VariableName,
    z
      .union([z.string(), z.number(), z.boolean()], { error: mustBe('a text, a number, or true or false') })
      .transform(String),
  )
  .meta({ title: 'variables' });

/** A path inside the checkout. Repository content is hostile: nothing may lead out of it. */
export const InnerPath = z
  .string({ error: mustBe('a path') })
  .min(1, { error: 'must not be empty' })
  .refine((path) => !path.startsWith('/') && !path.includes('\\') && !path.includes('\0'), {
    error: 'must be relative to the root of the repository, with `/` between its parts',
  })
  .refine((path) => !path.split('/').includes('..'), { error: 'must not leave the repository with `..`' })
  .meta({ title: 'path in the repository' });

/** Path of a URL. */
export const UrlPath = z
  .string({ error: mustBe('a path such as `/health`') })
  .regex(/^\/[^\s#]*$/, { error: (issue) => `${quoted(issue.input)} is no path; it begins with \`/\`` })
  .meta({ title: 'path of a URL' });

export const Port = z
  .number({ error: mustBe('a port from 1 to 65535') })
  .int({ error: 'must be a whole number' })
  .min(1, { error: 'must be a port from 1 to 65535' })
  .max(65_535, { error: 'must be a port from 1 to 65535' })
  .meta({ title: 'port' });

/** A pattern for log lines, which the engine that they are matched by takes: the repository may write some. */
export const Pattern = z
  .string({ error: mustBe('a regular expression') })
  .min(1, { error: 'must not be empty: it would match every line' })
  .max(200, { error: 'is longer than the 200 characters a pattern may have' })
  .superRefine((source, context) => {
    const complaint = patternProblem(source);
    if (complaint !== undefined) context.addIssue({ code: 'custom', message: complaint });
  })
  .meta({ title: 'regular expression' });

/**
 * Marks a problem whose place may hold a secret that somebody wrote down by mistake: its line is not shown. Zod copies fields that it does not
 * know from the issue to the error.
 */
export function sensitive(issue: object, message?: string): string | undefined {
  Object.assign(issue, { sensitive: true });
  return message;
}

/**
 * Where a secret comes from. Its value never stands in a document, so what was written instead is never repeated in a message.
 */
export const Secret = z
  .strictObject(
    {
      env: z.string().min(1).describe('Variable of the worker that holds it.').exactOptional(),
      file: z
        .string()
        .min(1)
        .describe('File on the worker that holds it; the last line break is dropped.')
        .exactOptional(),
    },
    {
      error: (issue) =>
        sensitive(
          issue,
          issue.code === 'invalid_type' && issue.input !== undefined
            ? 'must say where the secret comes from (`env` or `file`), not what it is'
            : undefined,
        ),
    },
  )
  .refine((ref) => (ref.env === undefined) !== (ref.file === undefined), { error: 'must have either `env` or `file`' })
  .transform((ref): SecretRef =>
    ref.env === undefined ? { kind: 'file', path: ref.file ?? '' } : { kind: 'env', name: ref.env },
  )
  .meta({ title: 'secret', minProperties: 1, maxProperties: 1 });

/** Secrets by the variable that carries them. */
export const Secrets = z.record(VariableName, Secret).meta({ title: 'secrets' });

/** A value as a message shows it: short, on one line, and only if it is plain. */
export function quoted(value: unknown): string {
  if (typeof value === 'string')
    return `\`${value.length > 60 ? `${value.slice(0, 57)}…` : value}\``.replaceAll('\n', '↵');
  if (typeof value === 'number' || typeof value === 'boolean') return `\`${value}\``;
  if (value === null || value === undefined) return 'nothing';
  return Array.isArray(value) ? 'a list' : 'a group of settings';
}

/** What a branch or tag is told by. */
export const RefGlob = z
  .string({ error: mustBe('a pattern such as `main` or `feature/**`') })
  .min(1)
  .max(200)
  .regex(/^[^\s~^:\\[\]]+$/, { error: (issue) => `${quoted(issue.input)} cannot match a branch or tag` })
  .refine((pattern) => pattern.split('{').length <= 4, { error: 'has more than three `{…}`; write several routes' });
