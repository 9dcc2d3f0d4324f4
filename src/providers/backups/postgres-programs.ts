import { readdir, realpath } from 'node:fs/promises';
import { basename, delimiter, isAbsolute, join } from 'node:path';
import { ProviderError } from '../../domain/failures.ts';
import { runTool, workerPath } from '../../effects/process.ts';
import { findProgram } from '../../effects/program.ts';

/** A folder that has `pg_dump` and `pg_restore`. */
export interface ProgramFolder {
  readonly folder: string;
  /** Major version of PostgreSQL that they are of; null where they do not say it. */
  readonly major: number | null;
}

/** Where programs are looked for. */
export interface ProgramPlaces {
  /** What the places of packages begin with. Default `/`. */
  readonly root: string;
  /** As in PATH. Default: the worker's. */
  readonly path: string;
}

/**
 * Where packages put one major version each, named by it: those of Debian, Ubuntu and apt.postgresql.org `/usr/lib/postgresql/16/bin`
 * (pg_wrapper(1)), those of yum.postgresql.org `/usr/pgsql-16/bin` (`_bindir` of their spec files).
 */
const packaged: readonly { readonly parent: string; readonly name: RegExp }[] = [
  { parent: 'usr/lib/postgresql', name: /^(\d+)$/ },
  { parent: 'usr', name: /^pgsql-(\d+)$/ },
];
const programs = ['pg_dump', 'pg_restore'] as const;
/** For `--version`. Judgement: it reads nothing and answers in milliseconds. */
const answerMs = 10_000;

/**
 * Lists the programs on this worker: those on PATH in its order, then those of packages.
 *
 * Debian's `pg_dump` on PATH is left out: it is a link to `pg_wrapper`, which starts one of those in `/usr/lib/postgresql` and cannot know
 * of which version the server is that it is to reach.
 */
export async function listProgramFolders({ root = '/', path = workerPath() }: Partial<ProgramPlaces> = {}): Promise<
  readonly ProgramFolder[]
> {
  const found: ProgramFolder[] = [];
  for (const folder of new Set(path.split(delimiter).filter((entry) => isAbsolute(entry)))) {
    if (!hasPrograms(folder) || (await isWrapper(folder))) continue;
    found.push({ folder, major: await askMajor(folder) });
  }
  for (const { parent, name } of packaged) {
    const names = await readdir(join(root, parent)).catch(() => []);
    for (const each of names.sort()) {
      const major = name.exec(each)?.[1];
      const folder = join(root, parent, each, 'bin');
      if (major !== undefined && hasPrograms(folder)) found.push({ folder, major: Number(major) });
    }
  }
  return found;
}

/**
 * Chooses by the server's version: the same major, else the smallest newer one, for `pg_dump` refuses a server newer than itself. The first
 * in the list where there are several. What an older server makes of a newer `pg_restore` is not promised: 17 and later set what 16 does not know.
 *
 * @returns undefined where none fits.
 */
export function chooseProgramFolder(folders: readonly ProgramFolder[], serverMajor: number): ProgramFolder | undefined {
  return folders
    .flatMap(({ folder, major }) => (major === null || major < serverMajor ? [] : [{ folder, major }]))
    .sort((a, b) => a.major - b.major)[0];
}

/**
 * Finds the folder of the programs for a server.
 *
 * @param server - for the message, as `database shop at db:5432`.
 * @throws ProviderError `ToolMissing` (not retried): none fits; the message has what was found and what helps.
 */
export async function findProgramFolder(
  serverMajor: number,
  server: string,
  places?: Partial<ProgramPlaces>,
): Promise<string> {
  const folders = await listProgramFolders(places);
  const chosen = chooseProgramFolder(folders, serverMajor);
  if (chosen !== undefined) return chosen.folder;
  const found = folders.map(({ folder, major }) => `${major === null ? 'an unknown version' : major} in ${folder}`);
  throw new ProviderError(
    'ToolMissing',
    `${server} runs PostgreSQL ${serverMajor}, and this worker has no \`pg_dump\` and \`pg_restore\` of ${serverMajor} or later: found ${found.length === 0 ? 'none' : found.join(', ')}. ${programAdvice}`,
    { details: { wanted: serverMajor, found } },
  );
}

/**
 * Makes sure that a folder which somebody has set has the programs; of which version they are is theirs to know.
 *
 * @throws ProviderError `ToolMissing` (not retried)
 */
export function requirePrograms(folder: string): void {
  if (hasPrograms(folder)) return;
  throw new ProviderError(
    'ToolMissing',
    `\`database.clientBin\` names ${folder}, which has no \`pg_dump\` and \`pg_restore\` that this worker may run. Correct it, or leave it out: then they are looked for by the version of the server.`,
    { details: { folder } },
  );
}

/** What a person can do to have the programs for a server. */
export const programAdvice =
  "Install the client of the server's version on the worker (Debian: postgresql-client-16 for 16; in Slipway's own image: SLIPWAY_POSTGRES_CLIENTS, and build it again), or name the folder of its programs in `database.clientBin` of project.yaml.";

function hasPrograms(folder: string): boolean {
  return programs.every((name) => findProgram(join(folder, name), '', '/') !== undefined);
}

async function isWrapper(folder: string): Promise<boolean> {
  const target = await realpath(join(folder, 'pg_dump')).catch(() => '');
  return basename(target) === 'pg_wrapper';
}

async function askMajor(folder: string): Promise<number | null> {
  const { stdout } = await runTool({
    command: [join(folder, 'pg_dump'), '--version'],
    timeoutMs: answerMs,
    cwd: '/',
  });
  // Also `19beta1`, and builds of others than PostgreSQL.
  const major = /^pg_dump \([^)]*\) (\d+)/.exec(stdout)?.[1];
  return major === undefined ? null : Number(major);
}
