import { z } from 'zod';
import { counted } from '../../domain/counted.ts';
import { createFindings, oneLine, severityOf } from './findings.ts';
import { each, readJson } from './json.ts';
import { type ReportReader, UnreadableReport, mostStreamedBytes } from './port.ts';

const Package = z.looseObject({ id: z.string().optional(), name: z.string(), version: z.string().optional() });
const Vulnerability = z.looseObject({
  id: z.string(),
  name: z.string(),
  description: z.string().optional(),
  normalized_severity: z.string().optional(),
  fixed_in_version: z.string().optional(),
});

/** Packages and vulnerabilities of one image that are held until their table comes; judgement. */
const mostHeld = 200_000;

/** The vulnerability report of Clair 4 (`clairctl report --out json`): packages, vulnerabilities, and a table of which has which. */
export const clair: ReportReader = {
  kind: 'clair',
  made: 'clairctl report --out json IMAGE > clair.json',
  maxBytes: mostStreamedBytes,
  async read(source) {
    const findings = createFindings('clair');
    const packages = new Map<string, { readonly name: string; readonly version: string }>();
    const known = new Map<
      string,
      { readonly name: string; readonly severity: string; readonly message: string; readonly fixed: string }
    >();
    const table: (readonly [packageId: string, ids: readonly string[]])[] = [];
    let manifest = '';
    let held = 0;
    const hold = (): void => {
      held += 1;
      if (held > mostHeld) throw new UnreadableReport(`has more than ${mostHeld} entries`);
    };
    await readJson(source, {
      maxBytes: this.maxBytes,
      needs: {
        manifest_hash: 'value',
        packages: 'object',
        vulnerabilities: 'object',
        package_vulnerabilities: 'object',
      },
      picks: {
        manifest_hash: each(z.string(), (text) => (manifest = oneLine(text, 80))),
        'packages/*': {
          take: (value, place) => {
            hold();
            each(Package, ({ name, version = '' }) =>
              packages.set(keyOf(place), { name: oneLine(name, 200), version: oneLine(version, 100) }),
            ).take(value, place);
          },
        },
        'vulnerabilities/*': {
          take: (value, place) => {
            hold();
            each(Vulnerability, ({ id, name, description = '', normalized_severity = '', fixed_in_version = '' }) =>
              known.set(id, {
                name: oneLine(name, 200),
                severity: normalized_severity,
                message: oneLine(description, 500) || name,
                fixed: oneLine(fixed_in_version, 100),
              }),
            ).take(value, place);
          },
        },
        'package_vulnerabilities/*': {
          take: (value, place) => {
            hold();
            each(z.array(z.string()), (ids) => table.push([keyOf(place), ids])).take(value, place);
          },
        },
      },
    });
    if (packages.size === 0) throw new UnreadableReport('says that Clair found no package in the image');
    for (const [packageId, ids] of table) {
      const found = packages.get(packageId);
      for (const id of ids) {
        const one = known.get(id);
        if (one === undefined)
          throw new UnreadableReport(`names a vulnerability that it does not describe: ${oneLine(id, 60)}`);
        findings.add({
          rule: one.name,
          severity: severityOf(one.severity),
          message: one.message,
          component: {
            name: found?.name ?? packageId,
            ...(found === undefined ? {} : { version: found.version }),
            fixedIn: one.fixed === '' ? [] : [one.fixed],
          },
          identity: one.name,
        });
      }
    }
    return {
      tool: { name: 'Clair' },
      lookedAt: `${counted(packages.size, 'package')} of ${manifest}`,
      ...findings.done(),
    };
  },
};

/** The last name of a place such as `packages.10`. */
function keyOf(place: string): string {
  return place.slice(place.indexOf('.') + 1);
}
