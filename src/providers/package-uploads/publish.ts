import { setTimeout as pause } from 'node:timers/promises';
import { ProviderError } from '../../domain/failures.ts';
import type { HeldPackage, PackageUploads, ReadPackage } from './port.ts';

/** How long an index may take to show what it took, ms. Judgement: those behind a cache take some seconds. */
const defaultVisibleMs = 60_000;
const askEveryMs = 500;

export interface PublishOptions {
  /** What the project calls the index; for messages. */
  readonly index: string;
  readonly signal: AbortSignal;
  /** Called whenever it gets on. */
  readonly moved: () => void;
  readonly visibleMs?: number;
}

/**
 * Ensures that an index holds a file: asks first, uploads what is not there, and asks again. So whoever died between upload and record, and a run
 * that is done again, find it there.
 *
 * @returns whether the very same file was there before.
 * @throws ProviderError `PackageTaken`, `DigestMismatch`, `IndexRefused` (not retried), `IndexUnavailable` (retried)
 */
export async function publishPackage(
  to: PackageUploads,
  read: ReadPackage,
  { index, signal, moved, visibleMs = defaultVisibleMs }: PublishOptions,
): Promise<{ readonly alreadyThere: boolean }> {
  const before = await to.find(read, signal);
  moved();
  if (before !== undefined) {
    if (before.digest !== read.digest) throw taken(index, read, before);
    return { alreadyThere: true };
  }
  try {
    await to.upload(read, signal);
  } catch (error) {
    if (!(error instanceof ProviderError) || error.type !== 'IndexRefused') throw error;
    // An index says in many ways that it has one; which one is what matters, and that it tells when it is asked.
    const meanwhile = await to.find(read, signal).catch(() => undefined);
    if (meanwhile === undefined) throw error;
    if (meanwhile.digest !== read.digest) throw taken(index, read, meanwhile);
    return { alreadyThere: true };
  }
  moved();
  for (const endMs = performance.now() + visibleMs; ;) {
    const held = await to.find(read, signal);
    moved();
    if (held?.digest === read.digest) return { alreadyThere: false };
    if (held !== undefined) {
      throw new ProviderError(
        'DigestMismatch',
        `the index ${index} holds ${held.digest} as ${read.file}, not ${read.digest} as it was uploaded`,
        { details: detailsOf(index, read, held) },
      );
    }
    if (performance.now() > endMs) {
      throw new ProviderError(
        'IndexUnavailable',
        `the index ${index} took ${read.file} and does not show it after ${Math.round(visibleMs / 1_000)} s`,
        { details: { index, file: read.file } },
      );
    }
    await pause(askEveryMs, undefined, { signal });
  }
}

function taken(index: string, read: ReadPackage, held: HeldPackage): ProviderError {
  return new ProviderError(
    'PackageTaken',
    `the index ${index} has ${read.name} ${read.version} already, with other content: it holds ${held.digest} as ${read.file}, and this run made ${read.digest}`,
    { details: detailsOf(index, read, held) },
  );
}

function detailsOf(
  index: string,
  { file, name, version, digest }: ReadPackage,
  held: HeldPackage,
): Record<string, string> {
  return { index, file, name, version, digest, held: held.digest };
}
