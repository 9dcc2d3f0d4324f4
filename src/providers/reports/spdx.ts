import { z } from 'zod';
import type { LicensedPackage } from '../../domain/report.ts';
import { counted } from '../../domain/counted.ts';
import { createFindings, oneLine } from './findings.ts';
import { each, readJson } from './json.ts';
import { mostPackages, unknownLicence } from './licences.ts';
import { type ReportReader, UnreadableReport, mostStreamedBytes } from './port.ts';

const Package = z.looseObject({
  SPDXID: z.string(),
  name: z.string(),
  versionInfo: z.string().optional(),
  licenseConcluded: z.string().optional(),
  licenseDeclared: z.string().optional(),
  externalRefs: z.array(z.looseObject({ referenceType: z.string(), referenceLocator: z.string() })).optional(),
});
const Relationship = z.looseObject({
  spdxElementId: z.string(),
  relatedSpdxElement: z.string(),
  relationshipType: z.string(),
});

const documentId = 'SPDXRef-DOCUMENT';

/** A bill of materials as SPDX has it (spdx.github.io/spdx-spec, 2.2 and 2.3): syft, npm. Only its packages and their licences are read. */
export const spdx: ReportReader = {
  kind: 'spdx',
  made: 'syft scan dir:. --output spdx-json=sbom.json',
  maxBytes: mostStreamedBytes,
  async read(source) {
    const packages = new Map<string, LicensedPackage>();
    /** What the bill is of: no part of itself. */
    const described = new Set<string>();
    let tool = '';
    await readJson(source, {
      maxBytes: this.maxBytes,
      needs: { spdxVersion: 'value', packages: 'array' },
      picks: {
        spdxVersion: each(z.string().regex(/^SPDX-2\.\d+$/), () => undefined),
        'creationInfo/creators/*': each(z.string(), (creator) => {
          const [, name] = /^Tool: (.+)$/.exec(creator) ?? [];
          tool ||= name ?? '';
        }),
        'documentDescribes/*': each(z.string(), (id) => void described.add(id)),
        'relationships/*': each(Relationship, ({ spdxElementId, relatedSpdxElement, relationshipType }) => {
          if (relationshipType === 'DESCRIBES' && spdxElementId === documentId) described.add(relatedSpdxElement);
          if (relationshipType === 'DESCRIBED_BY' && relatedSpdxElement === documentId) described.add(spdxElementId);
        }),
        'packages/*': each(Package, (one) => {
          const { SPDXID, name, versionInfo = '', licenseConcluded, licenseDeclared, externalRefs = [] } = one;
          if (packages.size >= mostPackages) throw new UnreadableReport(`names more than ${mostPackages} packages`);
          const licence = [licenseConcluded, licenseDeclared].find(isSaid) ?? unknownLicence;
          packages.set(SPDXID, {
            name: oneLine(name, 200),
            version: oneLine(versionInfo, 100),
            licence: oneLine(licence, 300),
            ...(externalRefs.some(isOfSystem) ? { system: true } : {}),
          });
        }),
      },
    });
    // A bill of one package that has no others is a bill of that.
    const parts = [...packages].flatMap(([id, one]) => (described.has(id) ? [] : [one]));
    if (parts.length === 0) throw new UnreadableReport('says that it looked at no package');
    return {
      tool: { name: oneLine(tool, 60) || 'SPDX' },
      lookedAt: counted(parts.length, 'package'),
      ...createFindings('spdx').done(),
      packages: parts,
    };
  },
};

function isSaid(licence: string | undefined): licence is string {
  return licence !== undefined && licence !== '' && licence !== 'NOASSERTION' && licence !== 'NONE';
}

/** Types of package addresses that package managers of distributions have (github.com/package-url/purl-spec, PURL-TYPES). */
const ofSystem = /^pkg:(?:alpm|apk|deb|ebuild|nix|opkg|rpm)\//;

function isOfSystem({ referenceType, referenceLocator }: { referenceType: string; referenceLocator: string }): boolean {
  return referenceType === 'purl' && ofSystem.test(referenceLocator);
}
