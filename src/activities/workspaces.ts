import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { RunInput, RunRef, Workspace } from '../domain/run.ts';

/**
 * Where a run's files lie on a worker: `<folder>/<project>/<key>/` holds
 * - `source`: the checkout, which is what {@link Workspace.path} names,
 * - `home`: HOME of the steps, empty when the run begins,
 * - `context`: a second, clean checkout that images are built from, where some are,
 * - `evidence`: by image, what is in it and what was found in it,
 * - `journal`: what each stage has done so far,
 * - `run.json`: what the run was asked for.
 */
export interface WorkspaceFolders {
  readonly root: string;
  readonly source: string;
  readonly home: string;
  readonly context: string;
  readonly evidence: string;
  readonly journal: string;
  readonly request: string;
}

/** The folders of a workspace that another activity of the run was given. */
export function foldersOf(workspace: Pick<Workspace, 'path'>): WorkspaceFolders {
  const root = dirname(workspace.path);
  return {
    root,
    source: workspace.path,
    home: join(root, 'home'),
    context: join(root, 'context'),
    evidence: join(root, 'evidence'),
    journal: join(root, 'journal'),
    request: join(root, 'run.json'),
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
  const emptied = keepJournal
    ? [folders.home, folders.context, folders.evidence]
    : [folders.home, folders.context, folders.evidence, folders.journal];
  await Promise.all(emptied.map((path) => rm(path, { recursive: true, force: true })));
  await Promise.all([folders.home, folders.journal].map((path) => mkdir(path, { recursive: true })));
}

/** Keeps what the run was asked for beside its files. */
export async function writeRequest(folders: WorkspaceFolders, input: RunInput): Promise<void> {
  await writeFile(`${folders.request}.new`, JSON.stringify(input));
  await rename(`${folders.request}.new`, folders.request);
}

/** @returns undefined where the workspace is gone. */
export async function readRequest(folders: WorkspaceFolders): Promise<RunInput | undefined> {
  const text = await readFile(folders.request, 'utf8').catch(() => undefined);
  return text === undefined ? undefined : (JSON.parse(text) as RunInput);
}
