import { setTimeout as delay } from 'node:timers/promises';
import { ProviderError } from '../domain/failures.ts';
import type { ManifestContent } from '../providers/registries/port.ts';
import type { ImageWork } from './image-work.ts';
import type { LogWriter } from './logs.ts';

/** Between two looks whether retention is done with an image, ms. Judgement: it removes one in a second or two. */
const askAgainMs = 500;

interface NamedImage {
  readonly name: string;
  readonly repository: string;
}

/**
 * Claims a repository before something is pushed there, and waits where retention is at work in it, or where the store cannot be asked: what is
 * pushed unclaimed could be removed before the run is on record. The wait ends with the time limit of the images.
 */
export async function claimPush(work: ImageWork, image: NamedImage, log: LogWriter): Promise<void> {
  const { signal, moved } = work;
  for (let said: string | undefined; ;) {
    const why = await whyNotFree(work, image);
    if (why === undefined) return;
    if (why !== said) log.say(`${why}: the push waits`);
    said = why;
    moved();
    await delay(askAgainMs, undefined, { signal }).catch(() => signal.throwIfAborted());
  }
}

async function whyNotFree({ deps, run }: ImageWork, { name, repository }: NamedImage): Promise<string | undefined> {
  try {
    const free = await deps.claims.claim({ run, image: name, repository, digests: [] });
    return free ? undefined : `retention is removing images from ${repository}`;
  } catch (error) {
    if (error instanceof ProviderError && error.type === 'StoreUnavailable') return 'the store does not answer';
    throw error;
  }
}

/** Claims what was pushed in place of the whole repository; where the store cannot be asked, that stays claimed until the run has ended. */
export async function claimPushed(work: ImageWork, image: NamedImage, content: ManifestContent): Promise<void> {
  await claimImage(work, image, content).catch((error: unknown) => {
    if (!(error instanceof ProviderError && error.type === 'StoreUnavailable')) throw error;
  });
}

/**
 * Claims an image, and the manifests of its platforms, that other lists may have too.
 *
 * @returns false where it is being removed.
 */
export async function claimImage(
  { deps, run }: Pick<ImageWork, 'deps' | 'run'>,
  { name, repository }: NamedImage,
  { digest, manifests }: Pick<ManifestContent, 'digest' | 'manifests'>,
): Promise<boolean> {
  return await deps.claims.claim({ run, image: name, repository, digests: [digest, ...manifests] });
}
