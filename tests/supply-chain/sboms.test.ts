import { createHash } from 'node:crypto';
import { createWriteStream, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { pack } from 'tar-stream';
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

/** As `docker save` writes an image of one layer, in which npm has put one package. */
async function writeImage(path: string): Promise<string> {
  const layer = pack();
  const about = JSON.stringify({ name: 'left-paddle', version: '1.0.0', license: 'MIT' });
  layer.entry({ name: 'app/node_modules/left-paddle/package.json' }, about);
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
