import { z } from 'zod';
import type { LicensedPackage } from '../../domain/report.ts';
import { counted } from '../../domain/counted.ts';
import { createFindings, oneLine } from './findings.ts';
import { each, readJson } from './json.ts';
import { licencesAtOnce, mostPackages, unknownLicence } from './licences.ts';
import { type ReportReader, UnreadableReport, mostStreamedBytes } from './port.ts';

const Component = z.looseObject({
  /** Parts of it, in the same form. */
  get components(): z.ZodOptional<z.ZodArray<typeof Component>> {
    return z.array(Component).optional();
  },
  type: z.string(),
  name: z.string(),
  group: z.string().optional(),
  version: z.string().optional(),
  licenses: z
    .array(
      z.looseObject({
        license: z.looseObject({ id: z.string().optional(), name: z.string().optional() }).optional(),
        expression: z.string().optional(),
      }),
    )
    .optional(),
});
type Component = z.output<typeof Component>;
const Tool = z.looseObject({
  vendor: z.string().optional(),
  name: z.string().optional(),
  version: z.string().optional(),
});

/** Components that no licence is asked for. */
const noPackages = new Set(['file', 'operating-system', 'data', 'cryptographic-asset', 'device']);

/** A bill of materials as CycloneDX has it (cyclonedx.org/docs, 1.2 and later): npm, syft, cdxgen. Only its packages and their licences are read. */
export const cyclonedx: ReportReader = {
  kind: 'cyclonedx',
  made: 'npm sbom --sbom-format=cyclonedx > sbom.json',
  maxBytes: mostStreamedBytes,
  async read(source) {
    const packages: LicensedPackage[] = [];
    const tools: z.output<typeof Tool>[] = [];
    const named = each(Tool, (one) => {
      if (tools.length === 0) tools.push(one);
    });
    function add({ type, name, group, version = '', licenses = [], components = [] }: Component): void {
      for (const part of components) add(part);
      if (noPackages.has(type)) return;
      if (packages.length >= mostPackages) throw new UnreadableReport(`names more than ${mostPackages} packages`);
      const all = licenses.flatMap(({ license, expression }) => expression ?? license?.id ?? license?.name ?? []);
      packages.push({
        name: oneLine(group === undefined || group === '' ? name : `${group}/${name}`, 200),
        version: oneLine(version, 100),
        licence: all.length === 0 ? unknownLicence : oneLine(licencesAtOnce(all), 300),
      });
    }
    await readJson(source, {
      maxBytes: this.maxBytes,
      needs: { bomFormat: 'value', components: 'array' },
      picks: {
        bomFormat: each(z.literal('CycloneDX'), () => undefined),
        // As a list until 1.4, and as components since.
        'metadata/tools/*': { take: (value, place) => (place.endsWith(']') ? named.take(value, place) : undefined) },
        'components/*': each(Component, add),
      },
    });
    const [tool] = tools;
    if (packages.length === 0) throw new UnreadableReport('says that it looked at no package');
    return {
      tool: {
        name: oneLine([tool?.vendor, tool?.name].filter(Boolean).join('/'), 60) || 'CycloneDX',
        ...(tool?.version === undefined ? {} : { version: oneLine(tool.version, 60) }),
      },
      lookedAt: counted(packages.length, 'package'),
      ...createFindings('cyclonedx').done(),
      packages,
    };
  },
};
