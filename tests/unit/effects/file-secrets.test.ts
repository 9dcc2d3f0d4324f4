import { Buffer } from 'node:buffer';
import { describe, expect, test } from '@jest/globals';
import { fc } from '../../support/property.ts';
import { createFileSecrets } from '../../../src/effects/file-secrets.ts';

const secret = 's3cr3t-value';

async function read(chunks: AsyncIterable<Buffer>): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  return Buffer.concat(parts);
}

// eslint-disable-next-line @typescript-eslint/require-await
async function* inPieces(content: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < content.length; at += size) yield content.subarray(at, at + size);
}

const zeros = Buffer.alloc(40);

describe('a file that people are shown', () => {
  const secrets = createFileSecrets([secret, 'abc']);
  const take = async (content: Buffer, size: number): Promise<{ readonly text: string; readonly hidden: number }> => {
    let hidden = -1;
    const kept = await read(secrets.taken(inPieces(content, size), (count) => (hidden = count)));
    return { text: kept.toString('latin1'), hidden };
  };

  test('is without its secrets where it is text, wherever it is cut', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 60 }), async (size) => {
        const text = `TOKEN=${secret}\nand ${Buffer.from(secret).toString('base64')} and again ${secret}`;
        expect(await take(Buffer.from(text), size)).toEqual({ text: 'TOKEN=***\nand *** and again ***', hidden: 3 });
      }),
    );
  });

  test('is as it was where there is none', async () => {
    for (const content of [
      Buffer.from('nothing to see\n'),
      Buffer.concat([zeros, Buffer.from('x')]),
      Buffer.alloc(0),
    ]) {
      expect(await take(content, 7)).toEqual({ text: content.toString('latin1'), hidden: 0 });
    }
  });

  test.each([
    ['behind its zeros', Buffer.concat([zeros, Buffer.from(secret), zeros])],
    ['at its very end', Buffer.concat([zeros, Buffer.from(secret)])],
    ['before its first zero', Buffer.concat([Buffer.from(`x ${secret} y`), zeros])],
  ])('is refused where it is a binary with one %s, wherever it is cut', async (_, content) => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 60 }), async (size) => {
        await expect(take(content, size)).rejects.toMatchObject({
          type: 'InvalidInput',
          message: expect.stringContaining('only text'),
        });
      }),
    );
  });

  test('keeps a binary with what may stand there by chance', async () => {
    const content = Buffer.concat([zeros, Buffer.from('abc')]);
    expect(await take(content, 100)).toEqual({ text: content.toString('latin1'), hidden: 0 });
  });

  test('has a name that is looked at too', () => {
    expect(secrets.isInPath(`out/${secret}.txt`)).toBe(true);
    expect(secrets.isInPath('out/a.txt')).toBe(false);
  });
});

describe('a file that comes back as it was', () => {
  const secrets = createFileSecrets([secret]);

  test('is not changed', async () => {
    const content = Buffer.concat([Buffer.from('a'), zeros, Buffer.from('s3cr3t-valu')]);
    expect(await read(secrets.refused(inPieces(content, 5), 'a'))).toEqual(content);
  });

  test.each([
    ['text', Buffer.from(`//registry/:_authToken=${secret}\n`)],
    ['a binary', Buffer.concat([zeros, Buffer.from(secret)])],
  ])('is refused with a secret, %s as well', async (_, content) => {
    for (const size of [1, 5, 1000]) {
      await expect(read(secrets.refused(inPieces(content, size), 'home/.npmrc'))).rejects.toMatchObject({
        message: expect.stringMatching(/^home\/\.npmrc: /),
      });
    }
  });
});

test('without secrets there is nothing to look for', () => {
  expect(createFileSecrets([]).active).toBe(false);
  expect(createFileSecrets([secret]).active).toBe(true);
});
