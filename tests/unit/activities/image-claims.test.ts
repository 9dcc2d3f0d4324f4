import { describe, expect, test } from '@jest/globals';
import { claimPush, claimPushed } from '../../../src/activities/image-claims.ts';
import type { ImageWork, RegistryClaims } from '../../../src/activities/image-work.ts';
import type { LogWriter } from '../../../src/activities/logs.ts';
import { ProviderError } from '../../../src/domain/failures.ts';

const run = { project: 'shop', key: 'k', number: 7 };
const image = { name: 'web', repository: 'registry/shop/web' };
const whole = { run, image: 'web', repository: image.repository, digests: [] };
const storeAway = (): never => {
  throw new ProviderError('StoreUnavailable', 'no answer');
};

interface Asked {
  readonly work: ImageWork;
  readonly log: LogWriter;
  readonly claims: Parameters<RegistryClaims['claim']>[0][];
  readonly said: string[];
  readonly moves: { count: number };
}

/** @param answers - one after the other; the last one for ever. */
function ask(answers: readonly (() => boolean)[], signal = new AbortController().signal): Asked {
  const claims: Parameters<RegistryClaims['claim']>[0][] = [];
  const said: string[] = [];
  const moves = { count: 0 };
  const claim: RegistryClaims['claim'] = async (asked) => {
    claims.push(asked);
    await Promise.resolve();
    return (answers[claims.length - 1] ?? answers.at(-1)!)();
  };
  const work = { deps: { claims: { claim } }, run, signal, moved: () => (moves.count += 1) } as unknown as ImageWork;
  const log = { say: (line: string) => said.push(line) } as unknown as LogWriter;
  return { work, log, claims, said, moves };
}

describe('before a push', () => {
  test('the whole repository is claimed, for nobody knows the digest yet', async () => {
    const { work, log, claims, said } = ask([() => true]);
    await claimPush(work, image, log);
    expect(claims).toEqual([whole]);
    expect(said).toEqual([]);
  });

  test('it is waited for a removal, and for the store; each is said once, and that the push is alive', async () => {
    const removing = (): boolean => false;
    const { work, log, claims, said, moves } = ask([removing, removing, storeAway, storeAway, () => true]);
    await claimPush(work, image, log);
    expect(claims).toHaveLength(5);
    expect(moves.count).toBe(4);
    expect(said).toEqual([
      'retention is removing images from registry/shop/web: the push waits',
      'the store does not answer: the push waits',
    ]);
  });

  test('the wait ends with the run, for its reason', async () => {
    const over = new AbortController();
    const { work, log, claims } = ask([() => false], over.signal);
    const waiting = claimPush(work, image, log);
    over.abort(new Error('the images took too long'));
    await expect(waiting).rejects.toThrow('the images took too long');
    expect(claims).toHaveLength(1);
  });

  test('what is wrong with the claim itself is not waited for', async () => {
    const broken = (): never => {
      throw new TypeError('no such column');
    };
    const { work, log } = ask([broken]);
    await expect(claimPush(work, image, log)).rejects.toThrow('no such column');
  });
});

describe('after a push', () => {
  const content = {
    digest: 'sha256:list',
    mediaType: 'm',
    sizeBytes: 1,
    blobs: [],
    manifests: ['sha256:amd64', 'sha256:arm64'],
  };

  test('the image and its platforms are claimed in place of the repository', async () => {
    const { work, claims } = ask([() => true]);
    await claimPushed(work, image, content);
    expect(claims).toEqual([{ ...whole, digests: ['sha256:list', 'sha256:amd64', 'sha256:arm64'] }]);
  });

  test('a store that is away leaves the whole repository claimed, and fails nothing', async () => {
    const { work, claims } = ask([storeAway]);
    await claimPushed(work, image, content);
    expect(claims).toHaveLength(1);
  });
});
