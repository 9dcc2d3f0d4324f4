import { parseEnv } from 'node:util';
import { ProviderError } from '../domain/failures.ts';
import { canonicalHash } from './canonical.ts';
import type { DefinitionPair } from './pair.ts';

/** What a release is configured with in one environment; secrets come on top when it starts. */
export interface Configuration {
  /** Settings by variable, the strongest source already chosen. */
  readonly env: Readonly<Record<string, string>>;
  /** SHA-256 over the RFC 8785 form of the settings: part of the plan's hash. */
  readonly hash: string;
  /** Hash of each value, so that two configurations can be compared by name without showing or keeping what they hold. */
  readonly keys: Readonly<Record<string, string>>;
  /** Which file of the repository was read; absent when there was none. */
  readonly file?: string;
}

/** Short names that the files of some environments have by tradition. */
const traditions: Readonly<Record<string, readonly string[]>> = {
  development: ['.env.dev'],
  production: ['.env.prod'],
};

const logLevels = ['DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL'];
const largestFileBytes = 64 * 1024;

/** The files that may hold the settings of an environment, the first that is there wins: `.env.production`, then `.env.prod`. */
export function environmentFiles(environment: string): readonly string[] {
  return [`.env.${environment}`, ...(traditions[environment] ?? [])];
}

/**
 * Puts together what a release is configured with: `service.env` of the repository, over it the repository's file for this environment,
 * over that the project's `env`.
 *
 * @param files - texts by path from the root of the repository; those of {@link environmentFiles} are looked for, and need not be there.
 * @throws `EnvironmentFileInvalid`: everything that is wrong, one a line. Values are never repeated.
 */
export function readConfiguration(
  files: Readonly<Record<string, string>>,
  environment: string,
  pair: Pick<DefinitionPair, 'repository' | 'project'>,
): Configuration {
  const { repository, project } = pair;
  const file = environmentFiles(environment).find((path) => Object.hasOwn(files, path));
  const problems: string[] = [];
  const fromFile = file === undefined ? {} : readFile(files[file] ?? '', file, problems);
  const own = project.environments[environment];
  const env = { ...repository.service?.env, ...fromFile, ...own?.env };

  if (file !== undefined) problems.push(...checkKnown(fromFile, environment, file));
  const secrets = own?.secrets ?? {};
  for (const name of repository.configuration.required) {
    if (!Object.hasOwn(secrets, name) && (env[name] ?? '') === '') {
      problems.push(`${name} is required and given neither by ${file ?? `.env.${environment}`} nor by the project`);
    }
  }
  for (const name of Object.keys(fromFile).filter((name) => Object.hasOwn(secrets, name))) {
    problems.push(`${file ?? ''}: ${name} is a secret of ${environment} in the project, and cannot stand in a file`);
  }
  if (problems.length > 0) {
    throw new ProviderError(
      'EnvironmentFileInvalid',
      `The configuration of ${environment} has ${problems.length} problem${problems.length === 1 ? '' : 's'}:\n${problems.join('\n')}`,
      { details: { environment, problems } },
    );
  }
  return {
    env,
    hash: canonicalHash(env),
    keys: Object.fromEntries(
      Object.entries(env).map(([name, value]) => [name, canonicalHash([name, value]).slice(0, 16)]),
    ),
    ...(file === undefined ? {} : { file }),
  };
}

/** Names of the settings that differ between two configurations, sorted. */
export function changedKeys(before: Configuration['keys'], after: Configuration['keys']): readonly string[] {
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...names].filter((name) => before[name] !== after[name]).sort();
}

function readFile(content: string, file: string, problems: string[]): Record<string, string> {
  const text = content.replace(/^\uFEFF/, '');
  if (Buffer.byteLength(text) > largestFileBytes) {
    problems.push(`${file} is larger than the ${largestFileBytes} bytes it may have`);
    return {};
  }
  // The parser passes over what it does not understand, which would deploy without the setting that somebody meant to give.
  problems.push(...lostLines(text).map((line) => `${file}:${line}: is no \`NAME=value\``));
  const result: Record<string, string> = {};
  for (const [name, value] of Object.entries(parseEnv(text))) {
    if (!/^[A-Z_][A-Z0-9_]*$/.test(name)) {
      problems.push(`${file}: ${printableName(name)} is no name of a variable; use capital letters, digits and _`);
    } else if (value?.includes('\0') === true) {
      problems.push(`${file}: ${name} holds a character that no variable can hold`);
    } else {
      result[name] = value ?? '';
    }
  }
  return result;
}

/** Numbers of the lines that are neither empty, a comment, an assignment, nor inside a quoted value. */
function lostLines(text: string): readonly number[] {
  const lost: number[] = [];
  let quote: string | undefined;
  for (const [index, line] of text.split('\n').entries()) {
    if (quote !== undefined) {
      if (line.includes(quote)) quote = undefined;
      continue;
    }
    const trimmed = line.trim();
    if (trimmed === '' || trimmed.startsWith('#')) continue;
    const assignment = /^(?:export\s+)?[^\s=#]+\s*=\s*(?<value>.*)$/u.exec(trimmed);
    if (assignment === null) {
      lost.push(index + 1);
      continue;
    }
    const value = assignment.groups?.['value'] ?? '';
    const first = value.charAt(0);
    if ((first === '"' || first === "'" || first === '`') && !value.slice(1).includes(first)) {
      // A quote that never closes is taken by the parser as part of the value of this line alone.
      const rest = text.split('\n').slice(index + 1);
      if (rest.some((later) => later.includes(first))) quote = first;
      else lost.push(index + 1);
    }
  }
  return lost;
}

function checkKnown(env: Readonly<Record<string, string>>, environment: string, file: string): readonly string[] {
  const problems: string[] = [];
  const { ENVIRONMENT, LOG_LEVEL, DOCKER_REGISTRY } = env;
  const names = environmentFiles(environment).map((path) => path.slice('.env.'.length));
  if (ENVIRONMENT !== undefined && !names.includes(ENVIRONMENT.toLowerCase())) {
    problems.push(`${file}: ENVIRONMENT names another environment than ${names.join(' or ')}`);
  }
  if (LOG_LEVEL !== undefined && !logLevels.includes(LOG_LEVEL.toUpperCase())) {
    problems.push(`${file}: LOG_LEVEL is none of ${logLevels.join(', ')}`);
  }
  if (DOCKER_REGISTRY !== undefined && !/^[a-z0-9.-]+(?::\d{1,5})?(?:\/[a-z0-9._/-]+)?$/i.test(DOCKER_REGISTRY)) {
    problems.push(`${file}: DOCKER_REGISTRY is no address of a registry, such as docker.io/team`);
  }
  return problems;
}

/** A name out of a foreign file, short and harmless in a message. */
function printableName(name: string): string {
  return JSON.stringify(name.slice(0, 40));
}
