import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createFakeSbomMaker } from '../../support/fakes/sbom-maker.ts';
import { describeSbomMaker } from './suite.ts';

describeSbomMaker('fake', () => {
  const folder = mkdtempSync(join(tmpdir(), 'slipway-fake-image-'));
  const path = join(folder, 'image.json');
  writeFileSync(path, JSON.stringify([{ name: 'left-paddle', version: '1.0.0' }]));
  return Promise.resolve({
    maker: createFakeSbomMaker(),
    elsewhere: createFakeSbomMaker({ isHere: false }),
    image: { form: 'docker-archive', path },
    stop: () => rmSync(folder, { recursive: true, force: true }),
  });
});
