/** The two documents as this worker reads and remembers them. */
import { constants } from 'node:fs';
import { open, realpath } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { type Loaded, definitionInvalid, loadPair, loadProject } from '../definition/load.ts';
import type { DefinitionPair } from '../definition/pair.ts';
import type { ProjectDefinition } from '../definition/project.ts';
import { ProviderError } from '../domain/failures.ts';
import type { WorkspaceFolders } from './workspaces.ts';

/** As large as a document may be; `readYaml` says so in words. */
const maxDocumentBytes = 1024 * 1024 + 1;
const rememberedDocuments = 50;

/** Parsed documents; they are the same from run to run, and parsing them takes longer than everything else that is done with them. */
export interface Documents {
  project(text: string): ProjectDefinition;
  pair(folders: WorkspaceFolders, project: ProjectDefinition, projectText: string): Promise<DefinitionPair>;
}

/** Remembers so many of each kind as {@link rememberedDocuments} says. @returns what throws `DefinitionInvalid` (not retried) for a document that is wrong or missing. */
export function createDocuments(): Documents {
  const projects = remembering((text: string) => accepted(loadProject({ file: 'project.yaml', text })));
  const pairs = remembering((key: string) => {
    const [file, repository, project] = JSON.parse(key) as [string, string, string];
    return accepted(
      loadPair({ repository: { file, text: repository }, project: { file: 'project.yaml', text: project } }),
    );
  });
  return {
    project: projects,
    async pair(folders, project, projectText) {
      const file = project.repository.definition;
      const text = await readInside(folders.source, file);
      if (text === undefined) {
        throw new ProviderError('DefinitionInvalid', `the commit has no ${file}`, { details: { file } });
      }
      return pairs(JSON.stringify([file, text, projectText]));
    },
  };
}

function accepted<Value>(loaded: Loaded<Value>): Value {
  if (!loaded.ok) throw definitionInvalid(loaded.problems);
  return loaded.value;
}

/** Remembers results by their text; what throws is tried again. */
function remembering<Value>(make: (text: string) => Value): (text: string) => Value {
  const known = new Map<string, Value>();
  return (text) => {
    const found = known.get(text) ?? make(text);
    // Deleted and set again, it is the youngest; the oldest goes.
    known.delete(text);
    known.set(text, found);
    const oldest = known.size > rememberedDocuments ? known.keys().next().value : undefined;
    if (oldest !== undefined) known.delete(oldest);
    return found;
  };
}

/**
 * Text of a file of the checkout; undefined where there is none. A link that leads out of it is none: the worker's own files are not the
 * repository's to show.
 */
export async function readInside(root: string, path: string): Promise<string | undefined> {
  try {
    const [inside, real] = await Promise.all([realpath(root), realpath(join(root, path))]);
    if (!real.startsWith(inside + sep)) return undefined;
    // A named pipe would be waited for.
    const file = await open(real, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      if (!(await file.stat()).isFile()) return undefined;
      const { bytesRead, buffer } = await file.read(Buffer.alloc(maxDocumentBytes), 0, maxDocumentBytes, 0);
      return buffer.toString('utf8', 0, bytesRead);
    } finally {
      await file.close();
    }
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}
