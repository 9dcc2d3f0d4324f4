import { z } from 'zod';
import { ProviderError } from '../domain/failures.ts';
import { matchesRef } from '../domain/glob.ts';
import { mustBe, quoted } from './scalars.ts';

/** Name of a parameter: it becomes part of the name of a variable of the steps. */
export const ParameterName = z.string().regex(/^[A-Za-z][A-Za-z0-9_-]{0,39}$/, {
  error: (issue) =>
    `${quoted(issue.input)} is no name of a parameter; use letters, digits, \`_\` and \`-\`, a letter first`,
});

const description = z.string().max(200).describe('Shown to whoever starts a run by hand.').exactOptional();
const longestText = 1_000;
const Text = z.string({ error: mustBe('a text') }).max(longestText);

/** One parameter that a run by hand, by schedule or by another project may be given. */
export const Parameter = z
  .discriminatedUnion('type', [
    z.strictObject({
      type: z.literal('text').describe('Any text.'),
      default: Text.describe('Taken where none is given; without it, one must be.').exactOptional(),
      pattern: z
        .string()
        .max(200)
        .refine((pattern) => pattern.split('{').length <= 4, { error: 'has more than three `{…}`' })
        .describe('As that of a route: `*` is anything but `/`, `**` anything, `?` one character, `{a,b}` either.')
        .exactOptional(),
      description,
    }),
    z.strictObject({
      type: z.literal('choice').describe('One of several texts.'),
      options: z.array(Text).min(1).max(100).describe('What may be chosen.'),
      default: Text.describe('Taken where none is given; without it, the first.').exactOptional(),
      description,
    }),
    z.strictObject({
      type: z.literal('boolean').describe('`true` or `false`.'),
      default: z.boolean().describe('Taken where none is given.').default(false),
      description,
    }),
    z.strictObject({
      type: z.literal('number').describe('A number.'),
      default: z.number().describe('Taken where none is given; without it, one must be.').exactOptional(),
      min: z.number().describe('Smallest.').exactOptional(),
      max: z.number().describe('Largest.').exactOptional(),
      description,
    }),
  ])
  .meta({ title: 'parameter' });
export type Parameter = z.output<typeof Parameter>;

/** All that a repository declares, by name. */
export const Parameters = z
  .record(ParameterName, Parameter)
  .refine((parameters) => Object.keys(parameters).length <= 50, { error: 'must be at most 50' });

/**
 * What a run is given, checked against what its repository declares, with defaults filled in; as texts, for that is what a step gets. A
 * repository that declares none takes whatever is given.
 *
 * @param byHand - only somebody who asks for a run can give what has no default; a push goes without.
 * @throws ProviderError `InvalidInput` (not retried): all that is wrong, at once
 */
export function resolveParameters(
  declared: Readonly<Record<string, Parameter>>,
  given: Readonly<Record<string, string>>,
  byHand: boolean,
): Readonly<Record<string, string>> {
  const names = Object.keys(declared);
  if (names.length === 0) return given;
  const problems = Object.keys(given)
    .filter((name) => !Object.hasOwn(declared, name))
    .map((name) => `there is no parameter ${quoted(name)}; there are ${names.join(', ')}`);
  const values: Record<string, string> = {};
  for (const [name, parameter] of Object.entries(declared)) {
    const value = Object.hasOwn(given, name) ? given[name] : defaultOf(parameter);
    if (value === undefined) {
      if (byHand) problems.push(`${name} must be given`);
      continue;
    }
    const complaint = complaintOf(parameter, value);
    if (complaint === undefined) values[name] = value;
    else problems.push(`${name} is ${quoted(value)}, but ${complaint}`);
  }
  if (problems.length > 0) {
    throw new ProviderError('InvalidInput', `The parameters of the run do not fit: ${problems.join('; ')}.`, {
      details: { problems },
    });
  }
  return values;
}

/** The variable that a step has a parameter as. */
export function parameterVariable(name: string): string {
  return `SLIPWAY_PARAMETER_${name.toUpperCase().replaceAll('-', '_')}`;
}

function defaultOf(parameter: Parameter): string | undefined {
  if (parameter.type === 'choice') return parameter.default ?? parameter.options[0];
  return parameter.default === undefined ? undefined : String(parameter.default);
}

/** What is wrong with a value; undefined when it is one of its kind. Also run over defaults, so that a wrong one is found by `validate`. */
export function complaintOf(parameter: Parameter, value: string): string | undefined {
  switch (parameter.type) {
    case 'text':
      if (value.length > longestText) return `may have ${longestText} characters`;
      return parameter.pattern === undefined || matchesRef(parameter.pattern, value)
        ? undefined
        : `must be like ${quoted(parameter.pattern)}`;
    case 'choice':
      return parameter.options.includes(value) ? undefined : `must be one of ${parameter.options.join(', ')}`;
    case 'boolean':
      return value === 'true' || value === 'false' ? undefined : 'must be true or false';
    case 'number': {
      const number = value.trim() === '' ? Number.NaN : Number(value);
      if (!Number.isFinite(number)) return 'must be a number';
      const { min = -Infinity, max = Infinity } = parameter;
      if (number >= min && number <= max) return undefined;
      if (parameter.min === undefined) return `must be at most ${max}`;
      return parameter.max === undefined ? `must be at least ${min}` : `must be from ${min} to ${max}`;
    }
  }
}
