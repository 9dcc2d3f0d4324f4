import { beforeEach, describe, expect, test } from '@jest/globals';
import type Docker from 'dockerode';
import { ProviderError } from '../../../src/domain/failures.ts';
import { ensureImage } from '../../../src/providers/executors/engine.ts';
import type { RegistryLogin, StageScope } from '../../../src/providers/executors/port.ts';

const address = 'registry.example:5000';
const theirs = `${address}/tools/node:24`;
const { signal } = new AbortController();

let fetched: object[];
let here: Set<string>;
let reads: number;
beforeEach(() => {
  fetched = [];
  here = new Set();
  reads = 0;
});

/** An engine whose registry gives its images to who logs in; every other gives them to anybody. */
const engine = {
  getImage: (image: string) => ({
    inspect: () =>
      here.has(image) ? Promise.resolve({}) : Promise.reject(Object.assign(new Error(), { statusCode: 404 })),
  }),
  createImage: (options: { readonly fromImage: string; readonly authconfig?: object }) => {
    const { fromImage, authconfig } = options;
    fetched.push({ fromImage, ...(authconfig === undefined ? {} : { authconfig }) });
    if (fromImage.startsWith(`${address}/`) && authconfig === undefined)
      return Promise.reject(new Error('access denied'));
    return Promise.resolve([]);
  },
} as unknown as Docker;

const login: RegistryLogin = {
  address,
  read: () => {
    reads += 1;
    return Promise.resolve({ address, username: 'ci', password: 'pull' });
  },
};
const have = (image: string, as: NonNullable<StageScope['login']>): Promise<void> =>
  ensureImage(engine, { login: as }, { image, name: 'build' }, () => undefined, signal);

describe('the image of a step', () => {
  test('of the registry of the project is fetched with its login', async () => {
    await have(theirs, login);
    expect(fetched).toEqual([
      { fromImage: theirs, authconfig: { username: 'ci', password: 'pull', serveraddress: address } },
    ]);
  });

  test.each(['node:24', 'registry.example:50001/tools/node:24', `other.example/${theirs}`])(
    '%s of another registry never sees the login',
    async (image) => {
      await have(image, login);
      expect({ fetched, reads }).toEqual({ fetched: [{ fromImage: image }], reads: 0 });
    },
  );

  test('that is here is not fetched', async () => {
    here.add(theirs);
    await have(theirs, login);
    expect(fetched).toEqual([]);
  });

  test('is refused to a stranger who may not have it, also where it is here', async () => {
    here.add(theirs);
    await expect(have(theirs, 'nobody')).rejects.toMatchObject({ type: 'ImageNotFound' });
    expect(fetched).toEqual([{ fromImage: theirs }]);
  });

  test('keeps the reason why the login cannot be had', async () => {
    const read = (): Promise<never> => Promise.reject(new ProviderError('SecretMissing', 'no REGISTRY_PASSWORD'));
    await expect(have(theirs, { address, read })).rejects.toMatchObject({ type: 'SecretMissing' });
    await have('node:24', { address, read });
  });
});
