import { beforeEach, describe, expect, test } from '@jest/globals';
import type Docker from 'dockerode';
import { createBaseFetcher } from '../../../src/providers/builders/docker-bases.ts';
import type { LocalImage } from '../../../src/providers/builders/port.ts';

const credentials = { address: 'registry.example:5000', username: 'ci', password: 'secret' };
const theirs = 'registry.example:5000/payments/ledger:1';
const progress = { output: () => undefined, moved: () => undefined, signal: new AbortController().signal };

let asked: object[];
let here: Set<string>;
beforeEach(() => {
  asked = [];
  here = new Set();
});

/** An engine whose registry gives an image to who logs in, and to nobody else. */
const engine = {
  createImage: (options: { readonly authconfig?: object; readonly fromImage: string }) => {
    asked.push(options);
    if (options.authconfig === undefined) return Promise.reject(new Error('pull access denied'));
    here.add(options.fromImage);
    return Promise.resolve([]);
  },
} as unknown as Docker;
const ensureBase = createBaseFetcher(engine, (reference) =>
  Promise.resolve(here.has(reference) ? ({ id: `id of ${reference}` } as LocalImage) : undefined),
);

describe('a base image', () => {
  test('of the registry of the project is fetched with its login', async () => {
    expect(await ensureBase(theirs, progress, credentials)).toBe(`id of ${theirs}`);
    expect(asked).toEqual([
      expect.objectContaining({ authconfig: expect.objectContaining({ username: 'ci' }) as unknown }),
    ]);
  });

  test('is not fetched again where it is here', async () => {
    here.add(theirs);
    await ensureBase(theirs, progress, credentials);
    expect(asked).toEqual([]);
  });

  test('of a registry is refused to a Dockerfile of a stranger who may not have it, also where it is here', async () => {
    here.add(theirs);
    await expect(ensureBase(theirs, progress, 'nobody')).rejects.toMatchObject({
      type: 'BuildFailed',
      message: expect.stringContaining('cannot be had') as unknown,
    });
    expect(asked).toEqual([{ fromImage: theirs, abortSignal: progress.signal }]);
  });

  test('without a registry in its name is taken where it is here', async () => {
    here.add('slipway/node-base');
    expect(await ensureBase('slipway/node-base', progress, 'nobody')).toBe('id of slipway/node-base');
    expect(asked).toEqual([]);
  });
});
