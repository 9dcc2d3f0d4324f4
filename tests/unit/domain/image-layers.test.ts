import { describe, expect, test } from '@jest/globals';
import { type ImageLayers, imageFactsOf } from '../../../src/domain/image-layers.ts';

const layers = (more: Partial<ImageLayers> = {}): ImageLayers => ({
  user: '1000',
  settings: { PATH: '/usr/bin' },
  count: 2,
  history: [
    { createdAt: '2026-11-20T00:00:00.000Z', instruction: 'COPY file /file' },
    { createdAt: '2026-05-01T00:00:00.000Z', instruction: 'ADD rootfs /' },
  ],
  ...more,
});

describe('the layers of an image', () => {
  test('are as old as the oldest, which is that of the base', () => {
    expect(imageFactsOf('app', layers(), true)).toEqual({
      name: 'app',
      user: '1000',
      layers: 2,
      baseCreatedAt: '2026-05-01T00:00:00.000Z',
      exposed: [],
    });
  });

  test.each([
    ['dated to 1970', [{ createdAt: '1970-01-01T00:00:00.000Z', instruction: '' }]],
    ['without a date', [{ createdAt: null, instruction: '' }]],
    ['that are not there', []],
  ])('%s do not tell the age of the base', (_, history) => {
    const young = layers().history.slice(0, history.length);
    expect(imageFactsOf('app', layers({ history: [...young, ...history] }), true).baseCreatedAt).toBeNull();
  });

  test('of an image that begins from nothing have no base', () => {
    expect(imageFactsOf('app', layers(), false)).not.toHaveProperty('baseCreatedAt');
  });

  test.each([
    ['ENV NPM_TOKEN=abcdef', ['NPM_TOKEN']],
    ['|1 API_KEY=hunter22 /bin/sh -c make', ['API_KEY']],
    ['ENV PASSWORD="with blanks in it"', ['PASSWORD']],
    ['RUN DATABASE_PASSWORD=$PASSWORD make', []],
    ['ENV PASSWORD_FILE=/run/secrets/password', []],
    ['ENV TOKEN=/run/secrets/token', []],
    ['ENV GPG_KEY=A035C8C19219BA821ECEA86B64E628F8D684696D', []],
  ])('with %s show %j', (instruction, exposed) => {
    const history = [{ createdAt: '2026-05-01T00:00:00.000Z', instruction }];
    expect(imageFactsOf('app', layers({ history }), true).exposed).toEqual(exposed);
  });

  test('show what the process starts with', () => {
    expect(imageFactsOf('app', layers({ settings: { DB_PASSWORD: 'hunter2' } }), true).exposed).toEqual([
      'DB_PASSWORD',
    ]);
  });
});
