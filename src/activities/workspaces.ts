import { readFileSync } from 'node:fs';
import { mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { sizeOnDisk } from '../effects/folder-size.ts';
import type { RunInput, RunRef, Workspace } from '../domain/run.ts';

/**
 * Where a run's files lie on a worker: `<folder>/<project>/<key>/` holds
 * - `source`: the checkout, which is what {@link Workspace.path} names,
 * - `home`: HOME of the steps, empty when the run begins,
 * - `context`: a second, clean checkout that images are built from, where some are,
 * - `images`: by image, what a builder without an engine has made, until it is pushed,
 * - `evidence`: by image, what is in it and what was found in it,
 * - `journal`: what each stage has done so far,
 * - `run.json`: what the run was asked for,
 * - `changed.json`: the files that differ from the commit before, where a condition asks for them,
 * - `generation`: how often it was made again after its worker died.
 */
export interface WorkspaceFolders {
  readonly root: string;
  readonly source: string;
  readonly home: string;
  readonly context: string;
  readonly images: string;
  readonly evidence: string;
  readonly journal: string;
  readonly request: string;
  readonly changed: string;
  readonly generation: string;
}

/** The folders of a workspace that another activity of the run was given. */
export function foldersOf(workspace: Pick<Workspace, 'path'>): WorkspaceFolders {
  const root = dirname(workspace.path);
  return {
    root,
    source: workspace.path,
    home: join(root, 'home'),
    context: join(root, 'context'),
    images: join(root, 'images'),
    evidence: join(root, 'evidence'),
    journal: join(root, 'journal'),
    request: join(root, 'run.json'),
    changed: join(root, 'changed.json'),
    generation: join(root, 'generation'),
  };
}

/** Where the workspace of a run lies below `folder`. */
export function workspacePath(folder: string, run: Pick<RunRef, 'project' | 'key'>): string {
  return join(folder, run.project, run.key, 'source');
}

/**
 * Makes everything but the checkout itself new and empty.
 *
 * @param keepJournal - what was done before still counts.
 */
export async function ensureFolders(
  folders: WorkspaceFolders,
  { keepJournal = false }: { readonly keepJournal?: boolean } = {},
): Promise<void> {
  await mkdir(folders.root, { recursive: true });
  const begun = [folders.journal, folders.changed, folders.generation];
  const emptied = [folders.home, folders.context, folders.images, folders.evidence, ...(keepJournal ? [] : begun)];
  await Promise.all(emptied.map((path) => rm(path, { recursive: true, force: true })));
  await Promise.all([folders.home, folders.journal].map((path) => mkdir(path, { recursive: true })));
}

/** Keeps what the run was asked for beside its files. */
export async function writeRequest(folders: WorkspaceFolders, input: RunInput): Promise<void> {
  await writeFile(`${folders.request}.new`, JSON.stringify(input));
  await rename(`${folders.request}.new`, folders.request);
}

/** The runs that have a workspace below `folder`. */
export async function readWorkspaces(folder: string): Promise<readonly Pick<RunRef, 'project' | 'key'>[]> {
  const namesIn = (path: string): Promise<string[]> =>
    readdir(path).catch((error: unknown) => {
      if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return [];
      throw error;
    });
  const found: Pick<RunRef, 'project' | 'key'>[] = [];
  for (const project of await namesIn(folder)) {
    for (const key of await namesIn(join(folder, project))) found.push({ project, key });
  }
  return found;
}

/** Removes everything of a run's workspace. */
export async function removeWorkspace(
  folder: string,
  run: Pick<RunRef, 'project' | 'key'>,
): Promise<{ readonly name: string; readonly sizeBytes: number }> {
  const { root } = foldersOf({ path: workspacePath(folder, run) });
  const sizeBytes = await sizeOnDisk(root);
  await rm(root, { recursive: true, force: true });
  return { name: root, sizeBytes };
}

/** @returns undefined where the workspace is gone. */
export async function readRequest(folders: WorkspaceFolders): Promise<RunInput | undefined> {
  const text = await readFile(folders.request, 'utf8').catch(() => undefined);
  return text === undefined ? undefined : (JSON.parse(text) as RunInput);
}

/** Keeps which files have changed; `undefined`, which cannot be told, is kept as nothing. */
export async function writeChanged(folders: WorkspaceFolders, changed: readonly string[] | undefined): Promise<void> {
  if (changed === undefined) await rm(folders.changed, { force: true });
  else await writeFile(folders.changed, JSON.stringify(changed));
}

/** @returns undefined where it could not be told, or nothing asked for it. */
export async function readChanged(folders: WorkspaceFolders): Promise<readonly string[] | undefined> {
  const text = await readFile(folders.changed, 'utf8').catch(() => undefined);
  return text === undefined ? undefined : (JSON.parse(text) as readonly string[]);
}

/** How often the workspace was made again. */
export function readGeneration(folders: WorkspaceFolders): number {
  try {
    return Number(readFileSync(folders.generation, 'utf8'));
  } catch {
    return 0;
  }
}

/** From now on every stage that began before begins anew. */
export async function raiseGeneration(folders: WorkspaceFolders): Promise<void> {
  await writeFile(`${folders.generation}.new`, String(readGeneration(folders) + 1));
  await rename(`${folders.generation}.new`, folders.generation);
}
