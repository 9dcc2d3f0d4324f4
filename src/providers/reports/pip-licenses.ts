import { z } from 'zod';
import { type LicensedPackage } from '../../domain/report.ts';
import { counted } from '../../domain/counted.ts';
import { createFindings, oneLine } from './findings.ts';
import { each, readJson } from './json.ts';
import { mostPackages } from './licences.ts';
import { type ReportReader, UnreadableReport, mostHeldBytes } from './port.ts';

const Package = z.looseObject({ Name: z.string(), Version: z.string(), License: z.string() });

/** pip-licenses' JSON. Whether a licence is allowed is the gate's to say. */
export const pipLicenses: ReportReader = {
  kind: 'pip-licenses',
  made: 'pip-licenses --format=json --output-file=licences.json',
  maxBytes: mostHeldBytes,
  async read(source) {
    const packages: LicensedPackage[] = [];
    await readJson(source, {
      maxBytes: this.maxBytes,
      needs: { '': 'array' },
      picks: {
        '*': each(Package, ({ Name, Version, License }) => {
          if (packages.length >= mostPackages) throw new UnreadableReport(`names more than ${mostPackages} packages`);
          packages.push({ name: oneLine(Name, 200), version: oneLine(Version, 100), licence: oneLine(License, 300) });
        }),
      },
    });
    if (packages.length === 0) throw new UnreadableReport('says that it looked at no package');
    return {
      tool: { name: 'pip-licenses' },
      lookedAt: counted(packages.length, 'package'),
      ...createFindings('pip-licenses').done(),
      packages,
    };
  },
};
