import { z } from 'zod';
import type { Path, YamlDocument } from './document.ts';
import { quoted } from './scalars.ts';
import { suggest, suggestion } from './suggest.ts';

/** One mistake in a document. Never repeats the value of something that may be a secret. */
export interface Problem {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** From 1. */
  readonly column: number;
  /** `stages[0].steps[1].timeout`; empty for the document as a whole. */
  readonly path: string;
  /** What is wrong, to be read after the path. */
  readonly message: string;
  /** What to do about it. */
  readonly hint?: string;
  /** The place may hold a secret that was written down by mistake: the line is shown nowhere. */
  readonly sensitive?: true;
}

/** A mistake found by a rule, before it is known where it stands. */
export interface Finding {
  readonly path: Path;
  readonly message: string;
  readonly hint?: string;
  /** Points at the name instead of the value. */
  readonly atKey?: boolean;
  readonly sensitive?: true;
  /** For a name that is no setting: the setting that was most likely meant. */
  readonly meant?: Path;
  /** For something that is missing: any of these settings would have been it. */
  readonly lacks?: readonly Path[];
}

/** Leaves out what is only missing because it was misspelled, so that one mistake is one problem. */
export function withoutEchoes(findings: readonly Finding[]): readonly Finding[] {
  const meant = new Set(
    findings.flatMap((finding) => (finding.meant === undefined ? [] : [formatPath(finding.meant)])),
  );
  return findings.filter(({ lacks }) => lacks?.some((path) => meant.has(formatPath(path))) !== true);
}

/** Puts a finding to its place in the document. */
export function locate(document: YamlDocument, finding: Finding): Problem {
  return {
    file: document.file,
    ...document.positionOf(finding.path, finding.atKey === true ? 'key' : 'value'),
    path: formatPath(finding.path),
    message: finding.message,
    ...(finding.hint === undefined ? {} : { hint: finding.hint }),
    ...(finding.sensitive === undefined ? {} : { sensitive: finding.sensitive }),
  };
}

/** `['stages', 0, 'steps', 1]` → `stages[0].steps[1]`. */
export function formatPath(path: Path): string {
  return path
    .map((step, index) => {
      if (typeof step === 'number') return `[${step}]`;
      return index === 0 ? String(step) : `.${String(step)}`;
    })
    .join('');
}

/** In reading order, each once. */
export function sortProblems(problems: readonly Problem[]): readonly Problem[] {
  const seen = new Set<string>();
  return problems
    .filter((problem) => {
      const key = JSON.stringify([problem.file, problem.line, problem.column, problem.path, problem.message]);
      return !seen.has(key) && seen.add(key);
    })
    .sort((a, b) => a.file.localeCompare(b.file) || a.line - b.line || a.column - b.column);
}

/**
 * Parses a value and says everything that is wrong with it; what could be read is there all the same, so that the rules between settings
 * are judged in the same round. Where `value` is unset, `partial` has settings of any shape.
 */
export function parse<Schema extends z.ZodType>(
  schema: Schema,
  input: unknown,
): { readonly value?: z.output<Schema>; readonly partial: unknown; readonly findings: readonly Finding[] } {
  let partial: unknown = input;
  const capture = z.refine<unknown>(
    (value) => {
      partial = value;
      return true;
    },
    { when: () => true },
  );
  const result = schema.check(capture).safeParse(input, { reportInput: true, error: explain });
  if (result.success) return { value: result.data, partial, findings: [] };
  return { partial, findings: result.error.issues.flatMap((issue) => markSensitive(issue, toFindings(issue))) };
}

type Issue = z.core.$ZodIssue;

/** What {@link explain} leaves on an issue for {@link toFindings}: zod copies unknown fields along. */
interface Explained {
  known?: readonly string[];
  about?: string;
  sensitive?: true;
}

const typeNames: Readonly<Record<string, string>> = {
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: '`true` or `false`',
  array: 'a list',
  object: 'a group of settings',
  record: 'a group of settings',
  null: 'nothing',
};

/** The sentence for an issue whose schema brings none of its own. */
function explain(issue: z.core.$ZodRawIssue): string | undefined {
  const explained = issue as Explained;
  const { inst } = issue as { readonly inst?: unknown };
  if (inst instanceof z.ZodObject) explained.known = Object.keys(inst.shape);
  if (inst instanceof z.ZodType && inst.description !== undefined) explained.about = inst.description;

  switch (issue.code) {
    case 'invalid_type':
      return `must be ${typeNames[issue.expected] ?? issue.expected}, not ${kindOf(issue.input)}`;
    case 'invalid_value':
      return `is ${quoted(issue.input)}, which is none of ${choices(issue.values)}`;
    case 'too_small':
    case 'too_big':
      return outOfRange(issue);
    case 'unrecognized_keys':
      return 'is no setting here';
    case 'invalid_union':
      return 'is not what belongs here';
    case 'invalid_format':
      return `is ${quoted(issue.input)}, which has the wrong form`;
    case 'invalid_key':
      return 'is no name here';
    default:
      return undefined;
  }
}

function markSensitive(issue: Issue, findings: readonly Finding[]): readonly Finding[] {
  return (issue as Explained).sensitive === true
    ? findings.map((finding) => ({ ...finding, sensitive: true }))
    : findings;
}

function toFindings(issue: Issue): readonly Finding[] {
  const { known = [], about } = issue as Explained;
  const withHint = (hint: string | undefined): { hint?: string } => (hint === undefined ? {} : { hint });

  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => {
      const near = suggest(key, known);
      return {
        path: [...issue.path, key],
        message: issue.message,
        hint: suggestion(key, known),
        atKey: true,
        ...(near === undefined ? {} : { meant: [...issue.path, near] }),
      };
    });
  }
  if (issue.code === 'invalid_key') {
    return [{ path: issue.path, message: issue.issues[0]?.message ?? issue.message, atKey: true }];
  }
  if (issue.code === 'invalid_union' && issue.discriminator !== undefined) {
    const options = ((issue as { readonly options?: readonly unknown[] }).options ?? []).map(String);
    const written = readKind(issue.input, issue.discriminator);
    return written === undefined
      ? [{ path: issue.path, message: 'is missing', hint: `There is: ${choices(options)}.`, lacks: [issue.path] }]
      : [
          {
            path: issue.path,
            message: `is ${quoted(written)}, which does not exist`,
            hint: typeof written === 'string' ? suggestion(written, options) : `There is: ${choices(options)}.`,
          },
        ];
  }
  const wantsValue = issue.code === 'invalid_type' || issue.code === 'invalid_value' || issue.code === 'invalid_union';
  if (wantsValue && issue.input === undefined) {
    return [{ path: issue.path, message: 'is missing', lacks: [issue.path], ...withHint(about) }];
  }
  if (wantsValue && issue.input === null) {
    return [
      { path: issue.path, message: 'is empty', hint: 'Give it a value, or remove it to get the default.', atKey: true },
    ];
  }
  if (issue.code === 'invalid_value') {
    return [{ path: issue.path, message: issue.message, ...withHint(nearest(issue.input, issue.values)) }];
  }
  if (issue.code === 'invalid_type' && issue.expected === 'string' && typeof issue.input !== 'object') {
    return [{ path: issue.path, message: issue.message, hint: 'Put it in quotes.' }];
  }
  return [{ path: issue.path, message: issue.message }];
}

function nearest(input: unknown, values: readonly unknown[]): string | undefined {
  return typeof input === 'string' ? suggestion(input, values.map(String)) : undefined;
}

/** The discriminator of a union is reported with the whole value as input. */
function readKind(input: unknown, discriminator: string): unknown {
  return typeof input === 'object' && input !== null ? (input as Record<string, unknown>)[discriminator] : undefined;
}

function kindOf(value: unknown): string {
  if (value === null) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  return typeNames[typeof value] ?? typeof value;
}

function choices(values: readonly unknown[]): string {
  return values.map((value) => `\`${String(value)}\``).join(', ');
}

function outOfRange(issue: {
  readonly code: 'too_small' | 'too_big';
  readonly origin: string;
  readonly minimum?: number | bigint;
  readonly maximum?: number | bigint;
  readonly inclusive?: boolean;
}): string {
  const limit = String(issue.code === 'too_small' ? issue.minimum : issue.maximum);
  const bound = issue.code === 'too_small' ? 'at least' : 'at most';
  switch (issue.origin) {
    case 'string':
      return `must have ${bound} ${limit} characters`;
    case 'array':
      return `must have ${bound} ${limit} entries`;
    default:
      return issue.inclusive === false
        ? `must be ${issue.code === 'too_small' ? 'more' : 'less'} than ${limit}`
        : `must be ${bound} ${limit}`;
  }
}
