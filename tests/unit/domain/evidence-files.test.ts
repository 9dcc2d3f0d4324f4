import { expect, test } from '@jest/globals';
import { evidenceFilesOf, foldersToForget } from '../../../src/domain/evidence-files.ts';

const blob = (key: string, sizeBytes = 10) => ({ key, sizeBytes });

test('files of evidence are those of the run, in order, and nothing that lies deeper', () => {
  const blobs = [
    blob('evidence/shop/12/web/scan.json'),
    blob('evidence/shop/12/app/sbom.spdx.json', 7),
    blob('evidence/shop/12/app/deep/er.json'),
    blob('evidence/shop/1/app/scan.json'),
  ];
  expect(evidenceFilesOf('shop', 12, blobs)).toEqual([
    { image: 'app', file: 'sbom.spdx.json', sizeBytes: 7 },
    { image: 'web', file: 'scan.json', sizeBytes: 10 },
  ]);
});

test('what kept runs show stays; of the others all goes, the oldest first; what is named otherwise is left alone', () => {
  const blobs = [
    blob('evidence/shop/12/app/scan.json'),
    blob('evidence/shop/3/app/scan.json'),
    blob('evidence/shop/3/app/sbom.spdx.json', 5),
    blob('reports/shop/3/test.json'),
    blob('pages/shop/2/test/0/index.html'),
    blob('reports/shop/latest/test.json'),
    blob('reports/blog/2/test.json'),
    blob('reports/shop/04/test.json'),
  ];
  expect(foldersToForget('shop', blobs, [12, 30])).toEqual([
    { run: 2, prefix: 'pages/shop/2', sizeBytes: 10 },
    { run: 3, prefix: 'evidence/shop/3', sizeBytes: 15 },
    { run: 3, prefix: 'reports/shop/3', sizeBytes: 10 },
  ]);
  expect(foldersToForget('shop', blobs, [2, 3, 12])).toEqual([]);
});
