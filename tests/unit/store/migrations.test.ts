import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { migrations } from '../../../src/store/migrations/index.ts';

const folder = join(import.meta.dirname, '../../../src/store/migrations');

/** Of each text, as it landed: a store that has run it never runs it again, so what is wrong with one is mended by the next. */
const landed: Readonly<Record<string, string>> = {
  '0001-first': 'dac1a3cbdb1a',
  '0002-fence': '41b90ca3e44d',
  '0003-operator-words': '15613a3efa9e',
  '0004-kept-files': '75e48a3c1824',
  '0005-reports': '2127b6bcf86b',
  '0006-image-evidence': 'cdcd23cf970c',
  '0007-refs-seen': 'cb6c1aae5169',
  '0009-finding-aliases': '8d8fe932aed9',
  '0010-started-runs': '340ab3a2ed3d',
  '0013-upkeep': 'ac04e49cc25a',
  '0015-packages': '270015a71153',
  '0016-run-turns': '5b9654167990',
  '0019-proofs': '40608d8155c5',
  '0019-undelivered': '959d13c04d48',
  '0022-built-images': '9983a0d878a0',
  '0022-registry-claims': '81c331cdeb9d',
  '0023-images-by-digest': '0bc628104549',
  '0024-told': 'ce203cda28f0',
  '0025-told-by-kind': 'dc684b1f90c1',
};

async function hashes(): Promise<Record<string, string>> {
  const names = readdirSync(folder).filter((name) => /^\d/.test(name));
  const all = names.map(async (name) => {
    const texts = Object.values((await import(join(folder, name))) as Record<string, string>);
    const hash = createHash('sha256').update(texts.join('\n'));
    return [name.replace(/\.ts$/, ''), hash.digest('hex').slice(0, 12)] as const;
  });
  return Object.fromEntries(await Promise.all(all));
}

test('no migration that has landed was edited, and each file is run', async () => {
  expect(await hashes()).toEqual(landed);
  expect(Object.keys(migrations).toSorted()).toEqual(Object.keys(landed));
});
