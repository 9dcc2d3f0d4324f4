import { z } from 'zod';
import type { Severity } from '../../domain/report.ts';
import { counted } from '../../domain/counted.ts';
import { createFindings, fileOf, severityOf, severityOfScore } from './findings.ts';
import { each, readJson } from './json.ts';
import { type ReportReader, UnreadableReport, mostStreamedBytes } from './port.ts';

const Advisory = z.looseObject({
  id: z.string(),
  summary: z.string().optional(),
  details: z.string().optional(),
  aliases: z.array(z.string()).nullable().optional(),
  affected: z
    .array(
      z.looseObject({
        package: z.looseObject({ name: z.string().optional() }).optional(),
        ranges: z
          .array(z.looseObject({ events: z.array(z.looseObject({ fixed: z.string().optional() })).optional() }))
          .nullable()
          .optional(),
      }),
    )
    .nullable()
    .optional(),
  database_specific: z.looseObject({ severity: z.unknown().optional() }).nullable().optional(),
});
const Package = z.looseObject({
  package: z.looseObject({ name: z.string(), version: z.string().optional() }),
  vulnerabilities: z.array(Advisory).nullable().optional(),
  groups: z
    .array(z.looseObject({ ids: z.array(z.string()), max_severity: z.string().optional() }))
    .nullable()
    .optional(),
});
type Package = z.output<typeof Package>;

/** osv-scanner's JSON. One finding for each group of advisories that mean the same. A clean report names packages only with `--all-packages`. */
export const osvScanner: ReportReader = {
  kind: 'osv-scanner',
  made: 'osv-scanner scan source --all-packages --format json --output osv.json .',
  maxBytes: mostStreamedBytes,
  async read(source) {
    const findings = createFindings('osv-scanner');
    let file = '';
    let packages = 0;
    let files = 0;
    await readJson(source, {
      maxBytes: this.maxBytes,
      needs: { results: 'array' },
      picks: {
        'results/*/source/path': each(z.string(), (path) => {
          files += 1;
          file = fileOf(path, source);
        }),
        'results/*/packages/*': each(Package, (one) => {
          packages += 1;
          for (const found of advisoriesOf(one)) findings.add({ ...found, file });
        }),
      },
    });
    if (packages === 0) {
      throw new UnreadableReport('names no package: whether any was looked at is not known', {
        remedy: 'Run osv-scanner with `--all-packages`, so that a clean report says what is clean.',
      });
    }
    return {
      tool: { name: 'osv-scanner' },
      lookedAt: `${counted(packages, 'package')} of ${counted(files, 'file')}`,
      ...findings.done(),
    };
  },
};

function advisoriesOf({
  package: { name, version },
  vulnerabilities,
  groups,
}: Package): Parameters<ReturnType<typeof createFindings>['add']>[0][] {
  const advisories = vulnerabilities ?? [];
  const grouped = new Set((groups ?? []).flatMap(({ ids }) => ids));
  const all = [
    ...(groups ?? []).map(({ ids, max_severity }) => ({ ids, score: max_severity })),
    // Older versions write no groups.
    ...advisories.filter(({ id }) => !grouped.has(id)).map(({ id }) => ({ ids: [id], score: undefined })),
  ];
  return all.map(({ ids, score }) => {
    const members = advisories.filter(({ id }) => ids.includes(id));
    const [first] = members;
    const names = [...ids, ...members.flatMap(({ aliases }) => aliases ?? [])];
    return {
      rule: names.find((id) => id.startsWith('CVE-')) ?? ids[0] ?? 'unnamed',
      severity: severityOfGroup(score, members),
      message: first?.summary ?? first?.details ?? ids.join(', '),
      component: {
        name,
        ...(version === undefined || version === '' ? {} : { version }),
        fixedIn: [...new Set(members.flatMap((advisory) => fixesOf(advisory, name)))],
      },
      identity: [...ids].sort().join(' '),
    };
  });
}

function severityOfGroup(score: string | undefined, members: readonly z.output<typeof Advisory>[]): Severity {
  const scored = score === undefined || score === '' ? 'unknown' : severityOfScore(Number(score));
  if (scored !== 'unknown') return scored;
  const named = members
    .map(({ database_specific }) => database_specific?.severity)
    .find((word) => typeof word === 'string');
  return severityOf(named);
}

function fixesOf({ affected }: z.output<typeof Advisory>, name: string): readonly string[] {
  return (affected ?? [])
    .filter((one) => one.package?.name === name)
    .flatMap(({ ranges }) => ranges ?? [])
    .flatMap(({ events }) => events ?? [])
    .flatMap(({ fixed }) => fixed ?? []);
}
