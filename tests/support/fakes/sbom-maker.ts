import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ProviderError } from '../../../src/domain/failures.ts';
import type { Sbom, SbomMaker } from '../../../src/providers/sboms/port.ts';

/** Lists what the file of the image says is in it: JSON, `[{ "name": "left-paddle", "version": "1.0.0" }]`. */
export function createFakeSbomMaker({ isHere = true }: { readonly isHere?: boolean } = {}): SbomMaker {
  return {
    name: 'fake',
    isHere: () => isHere,
    // What is thrown while it looks is what it is refused with.
    make: (request) => new Promise((resolve) => resolve(list(request))),
  };
}

function list({ image, name, version, folder, signal }: Parameters<SbomMaker['make']>[0]): Sbom {
  signal.throwIfAborted();
  const packages = read(image.path, name);
  const spdx = join(folder, 'sbom.spdx.json');
  const cyclonedx = join(folder, 'sbom.cdx.json');
  const listed = packages.map((each) => ({ name: each.name, versionInfo: each.version }));
  writeFileSync(spdx, JSON.stringify({ spdxVersion: 'SPDX-2.3', name, packages: listed }));
  const components = packages.map((each) => ({ ...each, purl: `pkg:npm/${each.name}@${each.version}` }));
  writeFileSync(
    cyclonedx,
    JSON.stringify({ bomFormat: 'CycloneDX', metadata: { component: { name, version } }, components }),
  );
  return { spdx, cyclonedx, packages: packages.length, tool: { name: 'fake', version: '0.0.0' } };
}

function read(path: string, name: string): readonly { readonly name: string; readonly version: string }[] {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as readonly { readonly name: string; readonly version: string }[];
  } catch (cause) {
    throw new ProviderError('ScanErrored', `what is in ${name} could not be listed`, { cause });
  }
}
