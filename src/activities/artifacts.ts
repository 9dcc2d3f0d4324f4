import { randomUUID } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { Readable } from 'node:stream';
import pRetry from 'p-retry';
import type { ArtifactSpec, StageSpec } from '../definition/specs/stage.ts';
import { matchesPath } from '../domain/glob.ts';
import type { RunRef } from '../domain/run.ts';
import { nameOfOpen, openFolderInside, openInside } from '../effects/inside.ts';
import type { BlobStore } from '../providers/blobs/port.ts';
import { type StageFiles, longestKeepMs } from './stage-files.ts';

/** One file of an artifact. */
export interface ArtifactFile {
  /** From the root of the checkout. */
  readonly path: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly blob: string;
}

/** Files that a stage has left for people. */
export interface KeptArtifact {
  readonly run: RunRef;
  readonly stage: string;
  readonly name: string;
  readonly files: readonly ArtifactFile[];
  /** The file that its documentation begins with; absent where it is just files. */
  readonly entry?: string;
  readonly sizeBytes: number;
  readonly at: string;
  readonly expiresAt: string;
}

export interface ArtifactDependencies {
  readonly blobs: BlobStore;
  readonly record: (artifact: KeptArtifact) => void;
}

export interface StageArtifacts {
  /**
   * Keeps what a stage is to leave, after all of it has ended. Links are left out, and nothing outside of the checkout is ever read. Texts are
   * kept without the secrets of the run; of an artifact with a binary that has one in it nothing is.
   *
   * @returns why one could not be kept, as a sentence: then nobody may count on it. undefined: all that there was is kept.
   */
  keep(files: StageFiles, spec: StageSpec, passed: boolean): Promise<string | undefined>;
}

/** Of one artifact. Judgement: an HTML report of coverage has some thousands. */
const mostFiles = 10_000;
/** Looked at while searching for them. Judgement. */
const mostSeen = 500_000;
/** To remove what is not to be kept after all: three tries within a second, in ms. Judgement: longer than that nobody waits for it. */
const removalTries = { retries: 2, minTimeout: 100, factor: 5 } as const;

export function createStageArtifacts(deps: ArtifactDependencies): StageArtifacts {
  return {
    async keep(files, spec, passed) {
      const until = AbortSignal.timeout(longestKeepMs);
      for (const artifact of spec.artifacts) {
        if (artifact.when !== 'always' && (artifact.when === 'success') !== passed) continue;
        try {
          const lost = await keepOne(deps, files, spec.name, artifact, until);
          if (lost === undefined) continue;
          files.say(lost);
          return lost;
        } catch (error) {
          files.signal.throwIfAborted();
          const why = error instanceof Error ? error.message : String(error);
          files.say(`artifact ${artifact.name}: ${why}`);
          return `The artifact ${artifact.name} could not be kept: ${why}`;
        }
      }
      return undefined;
    },
  };
}

async function keepOne(
  { blobs, record }: ArtifactDependencies,
  files: StageFiles,
  stage: string,
  artifact: ArtifactSpec,
  until: AbortSignal,
): Promise<string | undefined> {
  const { run, source, secrets, say } = files;
  const { name, paths, entry, retentionMs } = artifact;
  const found = await findFiles(source, paths);
  if (found.length > mostFiles) return `The artifact ${name} has more than the ${mostFiles} files that one may have.`;
  // Told before anything is kept of what nobody could begin to read.
  if (entry !== undefined && found.length > 0 && !found.includes(entry)) {
    return `The documentation ${name} has no page ${entry} to begin with.`;
  }
  if (found.some((path) => secrets.isInPath(path))) {
    return `The artifact ${name} has a file with the value of a secret in its name; nothing of it is kept.`;
  }
  const kept: ArtifactFile[] = [];
  let isOnRecord = false;
  try {
    const lost = await putFiles(blobs, files, stage, artifact, found, until, kept);
    if (lost !== undefined) return lost;
    if (kept.length === 0) {
      say(`artifact ${name}: no file matches ${paths.join(' or ')}`);
      return undefined;
    }
    const at = new Date();
    const expiresAt = new Date(at.getTime() + retentionMs).toISOString();
    const begins = entry === undefined ? {} : { entry };
    const sizeBytes = kept.reduce((sum, file) => sum + file.sizeBytes, 0);
    record({ run, stage, name, files: kept, ...begins, sizeBytes, at: at.toISOString(), expiresAt });
    isOnRecord = true;
    say(`artifact ${name}: ${kept.length} files, ${sizeBytes} bytes, kept until ${expiresAt}`);
    return undefined;
  } finally {
    if (!isOnRecord) await takeBack(blobs, kept, name, say);
  }
}

/**
 * @param kept - gets each file as soon as its blob is there, whatever comes after.
 * @returns why not all of them could be put, as a sentence.
 */
async function putFiles(
  blobs: BlobStore,
  { run, source, secrets, say, signal }: StageFiles,
  stage: string,
  { name, largestBytes }: ArtifactSpec,
  found: readonly string[],
  until: AbortSignal,
  kept: ArtifactFile[],
): Promise<string | undefined> {
  // Of this try alone: an earlier one may be on record, or still be at it on a machine that was lost.
  const prefix = `artifacts/${run.project}/${run.number}/${stage}/${name}/${randomUUID()}`;
  let sizeBytes = 0;
  for (const path of found) {
    signal.throwIfAborted();
    if (until.aborted) return `The artifact ${name} could not be kept within ${longestKeepMs / 1000} s.`;
    const file = await openInside(source, path);
    // Taken away, or made something else, since it was found.
    if (file === undefined) continue;
    try {
      const { size } = await file.stat();
      sizeBytes += size;
      if (sizeBytes > largestBytes) {
        return `The artifact ${name} has more than the ${largestBytes} bytes that the project allows for one.`;
      }
      const blob = `${prefix}-${kept.length}`;
      // No more of it than was counted, should somebody still write to it.
      const whole = size === 0 ? Readable.from([]) : file.createReadStream({ autoClose: false, end: size - 1 });
      const tell = (hidden: number): void => {
        if (hidden > 0) say(`artifact ${name}: ${path} has ${hidden} secrets in it, which are hidden`);
      };
      const content = secrets.active ? Readable.from(secrets.taken(whole, tell)) : whole;
      const written = await blobs.put(blob, content, { signal: AbortSignal.any([signal, until]) });
      kept.push({ path, sizeBytes: written.sizeBytes, sha256: written.sha256, blob });
    } catch (error) {
      signal.throwIfAborted();
      throw new Error(`${path}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    } finally {
      await file.close();
    }
  }
  return undefined;
}

/** Removes the blobs of an artifact that is not on record. Never throws, for why it is not is what has to be told. */
async function takeBack(
  blobs: BlobStore,
  files: readonly ArtifactFile[],
  name: string,
  say: StageFiles['say'],
): Promise<void> {
  const tries = await Promise.allSettled(files.map(({ blob }) => pRetry(() => blobs.remove(blob), removalTries)));
  const left = tries.filter((one) => one.status === 'rejected');
  const [first] = left;
  if (first === undefined) return;
  const why = first.reason instanceof Error ? first.reason.message : String(first.reason);
  say(`artifact ${name}: ${left.length} files of it could not be removed, which the retention will do: ${why}`);
}

/** Paths of all regular files that one of the globs matches, sorted; one more than there may be at most. Git's own folder has none. */
export async function findFiles(root: string, globs: readonly string[]): Promise<readonly string[]> {
  const found = new Set<string>();
  const begins = globs.map(fixedPart);
  let seen = 0;

  async function look(folder: string): Promise<void> {
    if (found.size > mostFiles || seen > mostSeen) return;
    const handle = await openFolderInside(root, folder);
    if (handle === undefined) return;
    try {
      for (const each of await readdir(nameOfOpen(handle), { withFileTypes: true })) {
        const path = folder === '.' ? each.name : `${folder}/${each.name}`;
        seen += 1;
        if (each.isFile() && globs.some((glob) => matchesPath(glob, path))) found.add(path);
        if (each.isDirectory() && path !== '.git' && begins.some((begin) => leadsTo(path, begin))) await look(path);
      }
    } finally {
      await handle.close();
    }
  }
  await look('.');
  return [...found].sort().slice(0, mostFiles + 1);
}

/** The folders of a glob before anything in it is open. */
function fixedPart(glob: string): string {
  const parts = glob.split('/').slice(0, -1);
  const open = parts.findIndex((part) => /[*?{]/.test(part));
  return (open < 0 ? parts : parts.slice(0, open)).join('/');
}

function leadsTo(folder: string, begin: string): boolean {
  if (begin === '') return true;
  const [here, there] = [`${folder}/`, `${begin}/`];
  return there.startsWith(here) || here.startsWith(there);
}
