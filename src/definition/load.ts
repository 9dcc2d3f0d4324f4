import { createReadStream } from 'node:fs';
import { basename } from 'node:path';
import { text as streamText } from 'node:stream/consumers';
import { ProviderError } from '../domain/failures.ts';
import { largestDocumentBytes, readYaml } from './document.ts';
import type { YamlDocument } from './document.ts';
import { checkPair } from './floors.ts';
import { criticalIsBelowMinimum } from './gate-floors.ts';
import { group } from './lenient.ts';
import type { DefinitionPair, DefinitionSource } from './pair.ts';
import { passageFindings } from './passage.ts';
import { locate, parse, sortProblems, withoutEchoes } from './problems.ts';
import type { Finding, Problem } from './problems.ts';
import { ProjectDefinition } from './project.ts';
import { RepositoryDefinition } from './repository.ts';
import { checkProject, checkRepository } from './rules.ts';

/** A document as it was found. */
export interface SourceText {
  /** As it is named in messages. */
  readonly file: string;
  readonly text: string;
}

/** What was read, or everything that is wrong with it. */
export type Loaded<Value> =
  { readonly ok: true; readonly value: Value } | { readonly ok: false; readonly problems: readonly Problem[] };

/** Reads `slipway.yaml`. */
export function loadRepository(source: SourceText): Loaded<RepositoryDefinition> {
  return finish(readRepository(source));
}

/** Reads `project.yaml`. */
export function loadProject(source: SourceText): Loaded<ProjectDefinition> {
  return finish(readProject(source));
}

/** Reads both documents and checks them against each other. */
export function loadPair(sources: {
  readonly repository: SourceText;
  readonly project: SourceText;
}): Loaded<DefinitionPair> {
  const repository = readRepository(sources.repository);
  const project = readProject(sources.project);
  const problems = [...repository.problems, ...project.problems, ...pairProblems(repository, project)];
  if (repository.value === undefined || project.value === undefined || problems.length > 0) {
    return { ok: false, problems: sortProblems(problems) };
  }
  const source: DefinitionSource = { repository: repository.document.value, project: project.document.value };
  return { ok: true, value: { repository: repository.value, project: project.value, source } };
}

/** So many pairs are kept read, the last ones used: of a worker's busy projects. Judgement. */
const keptRead = 20;
const stored = new Map<string, DefinitionPair>();

/**
 * Reads what `serialiseDefinition` wrote, with the defaults of today. Equal texts give the same pair, which nobody changes: several activities
 * of one deployment read the same, at 4 ms each (measured on a small one).
 *
 * @throws `DefinitionInvalid`: this Slipway no longer accepts what an older one stored.
 */
export function reviveDefinition(text: string): DefinitionPair {
  const pair = stored.get(text) ?? parseStored(text);
  stored.delete(text);
  stored.set(text, pair);
  const oldest = stored.size > keptRead ? stored.keys().next().value : undefined;
  if (oldest !== undefined) stored.delete(oldest);
  return pair;
}

function parseStored(text: string): DefinitionPair {
  const kept = group(JSON.parse(text));
  const source: DefinitionSource = { repository: kept['repository'], project: kept['project'] };
  const repository = parse(RepositoryDefinition, source.repository);
  const project = parse(ProjectDefinition, source.project);
  if (repository.value === undefined || project.value === undefined) {
    const nowhere = (file: string): YamlDocument => ({
      file,
      value: undefined,
      positionOf: () => ({ line: 1, column: 1 }),
    });
    throw definitionInvalid([
      ...repository.findings.map((finding) => locate(nowhere('slipway.yaml (stored)'), finding)),
      ...project.findings.map((finding) => locate(nowhere('project.yaml (stored)'), finding)),
    ]);
  }
  return { repository: repository.value, project: project.value, source };
}

/** Problems as the one error that ends a run for them; the message has them all, one a line, up to 50. */
export function definitionInvalid(problems: readonly Problem[]): ProviderError {
  const most = 50;
  const lines = problems
    .slice(0, most)
    .map(
      ({ file, line, column, path, message }) =>
        `${file}:${line}:${column} ${path === '' ? 'the document' : path} ${message}`,
    );
  const more = problems.length > most ? [`and ${problems.length - most} more`] : [];
  return new ProviderError(
    'DefinitionInvalid',
    [`The definition has ${problems.length} problem${problems.length === 1 ? '' : 's'}:`, ...lines, ...more].join('\n'),
    { details: { problems: problems.slice(0, most) } },
  );
}

/** What `slipway validate` shows. */
export interface Validation {
  readonly problems: readonly Problem[];
  /** What is no mistake, and will keep a release out or leave something unknown of it; empty where there are problems. */
  readonly warnings: readonly Problem[];
  /** The texts that were looked at, by file, for `renderProblems`. */
  readonly sources: ReadonlyMap<string, string>;
}

/**
 * Checks files, and every repository document against every project document among them. Which is which is told by what is in it: only a
 * project names a `project`.
 *
 * @param options.listsImages - whether this machine could list what is in an image. Default: nothing is said of it.
 */
export async function validateFiles(
  paths: readonly string[],
  { listsImages }: { readonly listsImages?: boolean } = {},
): Promise<Validation> {
  const sources = new Map<string, string>();
  const problems: Problem[] = [];
  const repositories: Read<RepositoryDefinition>[] = [];
  const projects: Read<ProjectDefinition>[] = [];
  for (const file of paths) {
    const text = await readText(file);
    if (typeof text !== 'string') {
      problems.push(text);
      continue;
    }
    sources.set(file, text);
    const source = { file, text };
    if (isProject(source)) projects.push(readProject(source));
    else repositories.push(readRepository(source));
  }
  for (const read of [...repositories, ...projects]) problems.push(...read.problems);
  for (const project of projects) {
    for (const repository of repositories) problems.push(...pairProblems(repository, project));
  }
  const warnings = problems.length > 0 ? [] : projects.flatMap((read) => warningsOf(read, repositories, listsImages));
  return { problems: sortProblems(problems), warnings: sortProblems(warnings), sources };
}

function warningsOf(
  { document, value: project }: Read<ProjectDefinition>,
  repositories: readonly Read<RepositoryDefinition>[],
  listsImages: boolean | undefined,
): readonly Problem[] {
  if (project === undefined) return [];
  const asked = { project, ...(listsImages === undefined ? {} : { listsImages }) };
  const found =
    repositories.length === 0
      ? passageFindings(asked)
      : repositories.flatMap(({ value }) =>
          passageFindings({ ...asked, ...(value === undefined ? {} : { repository: value }) }),
        );
  return found.map((finding) => locate(document, finding));
}

interface Read<Value> {
  readonly document: YamlDocument;
  readonly partial: unknown;
  readonly value?: Value;
  readonly problems: readonly Problem[];
}

function readRepository(source: SourceText): Read<RepositoryDefinition> {
  return read(
    source,
    (value) => parse(RepositoryDefinition, value),
    (document) => [...checkRepository(document), ...criticalIsBelowMinimum(document)],
  );
}

function readProject(source: SourceText): Read<ProjectDefinition> {
  return read(
    source,
    (value) => parse(ProjectDefinition, value),
    (document) => [...checkProject(document), ...criticalIsBelowMinimum(document)],
  );
}

function read<Value>(
  { file, text }: SourceText,
  toValue: (input: unknown) => {
    readonly value?: Value;
    readonly partial: unknown;
    readonly findings: readonly Finding[];
  },
  rules: (partial: unknown) => readonly Finding[],
): Read<Value> {
  const { document, problems } = readYaml(text, file);
  // Nothing can be said of the content of what is no YAML, and guesses would bury the one real mistake.
  if (problems.length > 0) return { document, partial: undefined, problems };
  if (document.value === null || document.value === undefined) {
    const empty = locate(document, { path: [], message: 'is empty', hint: 'Begin with `version: 1`.' });
    return { document, partial: undefined, problems: [empty] };
  }
  const parsed = toValue(document.value);
  const findings = withoutEchoes([...parsed.findings, ...rules(parsed.partial)]);
  const found = findings.map((finding) => locate(document, finding));
  return {
    document,
    partial: parsed.partial,
    problems: found,
    ...(parsed.value === undefined ? {} : { value: parsed.value }),
  };
}

function pairProblems(repository: Read<RepositoryDefinition>, project: Read<ProjectDefinition>): readonly Problem[] {
  if (repository.partial === undefined || project.partial === undefined) return [];
  const findings = checkPair(repository.partial, project.partial);
  return [
    ...findings.repository.map((finding) => locate(repository.document, finding)),
    ...findings.project.map((finding) => locate(project.document, finding)),
  ];
}

function finish<Value>({ value, problems }: Read<Value>): Loaded<Value> {
  return value === undefined || problems.length > 0
    ? { ok: false, problems: sortProblems(problems) }
    : { ok: true, value };
}

function isProject({ file, text }: SourceText): boolean {
  const { document } = readYaml(text, file);
  const names = group(document.value);
  if ('project' in names || 'environments' in names || 'routes' in names) return true;
  return document.value === undefined && basename(file).startsWith('project');
}

async function readText(file: string): Promise<string | Problem> {
  try {
    // One byte more than allowed is enough to be refused, whatever the file would go on to be.
    return await streamText(createReadStream(file, { end: largestDocumentBytes }));
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown';
    return {
      file,
      line: 1,
      column: 1,
      path: '',
      message: code === 'ENOENT' ? 'is not there' : `cannot be read (${code})`,
      hint: 'Check the path and that it may be read.',
    };
  }
}
