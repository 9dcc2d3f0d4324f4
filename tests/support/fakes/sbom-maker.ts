import { randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ProviderError } from '../../../src/domain/failures.ts';
import type { Sbom, SbomMaker } from '../../../src/providers/sboms/port.ts';

interface FakeMakerOptions {
  /** Default: it is. */
  readonly isHere?: boolean;
  /** What it says of how it lists; null: nothing. */
  readonly method?: string | null;
}

/** Lists what the file of the image says is in it: JSON, `[{ "name": "left-paddle", "version": "1.0.0", "licence": "MIT", "deb": true }]`. */
export function createFakeSbomMaker({ isHere = true, method = 'fake-0.0.0' }: FakeMakerOptions = {}): SbomMaker {
  return {
    name: 'fake',
    isHere: () => isHere,
    readMethod: () => Promise.resolve(method ?? undefined),
    // What is thrown while it looks is what it is refused with.
    make: (request) => new Promise((resolve) => resolve(list(request))),
    renew: (request) => new Promise((resolve) => resolve(renew(request))),
  };
}

interface FakePackage {
  readonly name: string;
  readonly version: string;
  readonly licence?: string;
  /** As a distribution packs it. */
  readonly deb?: true;
}

const tool = { name: 'fake', version: '0.0.0' } as const;

function list({ image, name, version, folder, signal }: Parameters<SbomMaker['make']>[0]): Sbom {
  signal.throwIfAborted();
  const packages = read(image.path, name) as readonly FakePackage[];
  return write(
    { spdx: join(folder, 'sbom.spdx.json'), cyclonedx: join(folder, 'sbom.cdx.json') },
    { name, version },
    packages,
  );
}

function renew({ list: files, name, version }: Parameters<SbomMaker['renew']>[0]): Sbom {
  const { metadata, components } = read(files.cyclonedx, name) as {
    readonly metadata?: { readonly component: { readonly name: string } };
    readonly components: readonly (FakePackage & {
      readonly purl: string;
      readonly licenses?: readonly { readonly expression: string }[];
    })[];
  };
  const { name: of } = read(files.spdx, name) as { readonly name?: unknown };
  if (of !== name || metadata?.component.name !== name)
    throw new ProviderError('ScanErrored', `it is no list of ${name}`);
  const packages = components.map((each) => {
    const licence = each.licenses?.[0]?.expression;
    const deb = each.purl.startsWith('pkg:deb/');
    return {
      ...{ name: each.name, version: each.version },
      ...(licence === undefined ? {} : { licence }),
      ...(deb ? { deb } : {}),
    };
  });
  return write(files, { name, version }, packages);
}

function write(
  { spdx, cyclonedx }: Pick<Sbom, 'spdx' | 'cyclonedx'>,
  { name, version }: { readonly name: string; readonly version: string },
  packages: readonly FakePackage[],
): Sbom {
  const listed = packages.map((each, index) => ({
    SPDXID: `SPDXRef-${index}`,
    name: each.name,
    versionInfo: each.version,
    licenseDeclared: each.licence ?? 'NOASSERTION',
    externalRefs: [{ referenceType: 'purl', referenceLocator: purlOf(each) }],
  }));
  const root = { SPDXID: 'SPDXRef-root', name, versionInfo: version, primaryPackagePurpose: 'CONTAINER' };
  writeFileSync(
    spdx,
    JSON.stringify({
      ...{ spdxVersion: 'SPDX-2.3', name, documentNamespace: `fake:${name}-${randomUUID()}` },
      creationInfo: { creators: ['Tool: fake-0.0.0'] },
      packages: [...listed, root],
      relationships: [
        { spdxElementId: 'SPDXRef-DOCUMENT', relatedSpdxElement: root.SPDXID, relationshipType: 'DESCRIBES' },
      ],
    }),
  );
  const components = packages.map(({ licence, name: of, version: at, deb }) => ({
    ...{
      type: 'library',
      name: of,
      version: at,
      purl: purlOf({ name: of, version: at, ...(deb === true ? { deb } : {}) }),
    },
    ...(licence === undefined ? {} : { licenses: [{ expression: licence }] }),
  }));
  const serialNumber = `urn:uuid:${randomUUID()}`;
  const document = { bomFormat: 'CycloneDX', serialNumber, metadata: { component: { name, version } }, components };
  writeFileSync(cyclonedx, JSON.stringify(document));
  return { spdx, cyclonedx, packages: packages.length, tool };
}

function purlOf({ name, version, deb }: FakePackage): string {
  return `pkg:${deb === true ? 'deb/debian' : 'npm'}/${name}@${version}`;
}

function read(path: string, name: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw new ProviderError('ScanErrored', `what is in ${name} could not be listed`, { cause });
  }
}
