import { createHash } from 'node:crypto';
import { createWriteStream, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { expect, test } from '@jest/globals';
import { pack } from 'tar-stream';
import { judgeLicences } from '../../src/domain/licence.ts';
import { readReport } from '../../src/providers/reports/file.ts';
import { createSyftSbomMaker } from '../../src/providers/sboms/syft.ts';
import { describeSbomMaker } from '../contracts/sboms/suite.ts';
import { toolPath } from '../support/supply-chain.ts';

describeSbomMaker('syft', async () => {
  const program = await toolPath('syft');
  const folder = mkdtempSync(join(tmpdir(), 'slipway-syft-'));
  return {
    maker: createSyftSbomMaker(
      () => Promise.resolve(program),
      () => true,
    ),
    elsewhere: createSyftSbomMaker(
      () => Promise.reject(new Error('nobody makes a list here')),
      () => false,
    ),
    image: { form: 'docker-archive', path: await writeImage(join(folder, 'image.tar')) },
    stop: () => rmSync(folder, { recursive: true, force: true }),
  };
});

test('what syft lists is read with licences, and with what is of the distribution', async () => {
  const program = await toolPath('syft');
  const folder = mkdtempSync(join(tmpdir(), 'slipway-syft-licences-'));
  try {
    const path = await writeImage(join(folder, 'image.tar'));
    const { signal } = new AbortController();
    const maker = createSyftSbomMaker(
      () => Promise.resolve(program),
      () => true,
    );
    await maker.make({ image: { form: 'docker-archive', path }, name: 'app', version: '1', folder, signal });
    const report = await readReport({ root: folder }, { kind: 'spdx', path: 'sbom.spdx.json', base: '' });
    if (report.state === 'errored') throw new Error(report.problem.reason);
    expect(report.packages).toEqual([
      {
        ...{ name: 'base-paddle', version: '12.4', system: true },
        licence: 'GPL-2.0-or-later AND LicenseRef-of-its-own',
      },
      { name: 'left-paddle', version: '1.0.0', licence: 'MIT' },
    ]);
    const judged = (deny: readonly string[]): readonly string[] =>
      judgeLicences(report.packages ?? [], { allow: null, deny }, 'app').map(({ message }) => message);
    expect(judged(['AGPL-3.0-only'])).toEqual([]);
    expect(judged(['GPL-2.0-or-later', 'MIT'])).toEqual([
      'base-paddle 12.4 in image app: its licence `GPL-2.0-or-later AND LicenseRef-of-its-own` is denied',
      'left-paddle 1.0.0 in image app: its licence `MIT` is denied',
    ]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 120_000);

/** As `docker save` writes an image of one layer, in which npm and the distribution have put one package each. */
async function writeImage(path: string): Promise<string> {
  const layer = pack();
  const about = JSON.stringify({ name: 'left-paddle', version: '1.0.0', license: 'MIT' });
  layer.entry({ name: 'app/node_modules/left-paddle/package.json' }, about);
  layer.entry({ name: 'etc/os-release' }, 'ID=debian\nVERSION_ID="12"\nNAME="Debian"\n');
  const status =
    'Package: base-paddle\nStatus: install ok installed\nArchitecture: amd64\nVersion: 12.4\nDescription: x\n\n';
  layer.entry({ name: 'var/lib/dpkg/status' }, status);
  const copyright = 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nLicense: ';
  layer.entry({ name: 'usr/share/doc/base-paddle/copyright' }, `${copyright}GPL-2+\n\nLicense: of-its-own\n`);
  layer.finalize();
  const content = await buffer(layer);
  const config = JSON.stringify({
    architecture: 'amd64',
    os: 'linux',
    config: {},
    rootfs: { type: 'layers', diff_ids: [`sha256:${createHash('sha256').update(content).digest('hex')}`] },
  });
  const archive = pack();
  archive.entry({ name: 'layer.tar' }, content);
  archive.entry({ name: 'config.json' }, config);
  const manifest = [{ Config: 'config.json', RepoTags: ['app:1'], Layers: ['layer.tar'] }];
  archive.entry({ name: 'manifest.json' }, JSON.stringify(manifest));
  archive.finalize();
  await pipeline(archive, createWriteStream(path));
  return path;
}
