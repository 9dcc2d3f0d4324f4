import { z } from 'zod';
import { type Severity, longestMessage } from '../../domain/report.ts';
import { counted } from '../../domain/counted.ts';
import { type RawFinding, createFindings, fileOf, oneLine, severityOf, severityOfScore } from './findings.ts';
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
const Package = z.looseObject({ name: z.string(), version: z.string().optional() });
const Group = z.looseObject({ ids: z.array(z.string()), max_severity: z.string().optional() });

/** What is kept of an advisory; how long its lists are depends on who wrote it. */
interface Known {
  readonly id: string;
  readonly aliases: readonly string[];
  readonly message: string;
  readonly severity: unknown;
  /** Versions that mend it, by the name of the package. */
  readonly fixes: readonly (readonly [name: string, version: string])[];
}
interface Vulnerable {
  name: string;
  version: string | undefined;
  readonly advisories: Known[];
  readonly groups: z.output<typeof Group>[];
}

/** Of one package; a kernel has some thousands. Judgement. */
const mostAdvisories = 20_000;
const mostNames = 50;

/** osv-scanner's JSON. One finding for each group of advisories that mean the same. A clean report names packages only with `--all-packages`. */
export const osvScanner: ReportReader = {
  kind: 'osv-scanner',
  made: 'osv-scanner scan source --all-packages --format json --output osv.json .',
  maxBytes: mostStreamedBytes,
  async read(source) {
    const findings = createFindings('osv-scanner');
    let one = nothingYet();
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
        'results/*/packages/*/package': each(Package, ({ name, version }) => {
          one.name = name;
          one.version = version;
        }),
        'results/*/packages/*/vulnerabilities/*': each(Advisory, (advisory) => {
          if (one.advisories.length >= mostAdvisories)
            throw new UnreadableReport(`names more than ${mostAdvisories} advisories of one package`);
          one.advisories.push(knownOf(advisory));
        }),
        'results/*/packages/*/groups/*': each(Group, (group) => {
          if (one.groups.length < mostAdvisories) one.groups.push(group);
        }),
      },
      parts: {
        'results/*/packages/*': {
          needs: { package: 'object' },
          done: () => {
            packages += 1;
            for (const found of advisoriesOf(one)) findings.add({ ...found, file });
            one = nothingYet();
          },
        },
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

/** A package whose members are still to come, in whatever order. */
function nothingYet(): Vulnerable {
  return { name: '', version: undefined, advisories: [], groups: [] };
}

function knownOf({ id, aliases, summary, details, affected, database_specific }: z.output<typeof Advisory>): Known {
  const fixes = (affected ?? []).flatMap(({ package: of, ranges }) =>
    (ranges ?? []).flatMap(({ events }) =>
      (events ?? []).flatMap(({ fixed }) => (fixed === undefined ? [] : [[of?.name ?? '', fixed] as const])),
    ),
  );
  return {
    id,
    aliases: (aliases ?? []).slice(0, mostNames),
    message: oneLine(summary ?? details ?? id, longestMessage),
    severity: database_specific?.severity,
    fixes: fixes.slice(0, mostNames),
  };
}

function advisoriesOf({ name, version, advisories, groups }: Vulnerable): RawFinding[] {
  const byId = new Map(advisories.map((one) => [one.id, one]));
  const grouped = new Set(groups.flatMap(({ ids }) => ids));
  const all = [
    ...groups.map(({ ids, max_severity }) => ({ ids, score: max_severity })),
    // Older versions write no groups.
    ...advisories.filter(({ id }) => !grouped.has(id)).map(({ id }) => ({ ids: [id], score: undefined })),
  ];
  return all.map(({ ids, score }) => {
    const members = ids.flatMap((id) => byId.get(id) ?? []);
    const [first] = members;
    const names = [...ids, ...members.flatMap(({ aliases }) => aliases)];
    return {
      rule: names.find((id) => id.startsWith('CVE-')) ?? ids[0] ?? 'unnamed',
      severity: severityOfGroup(score, members),
      message: first?.message ?? ids.join(', '),
      component: {
        name,
        ...(version === undefined || version === '' ? {} : { version }),
        fixedIn: [
          ...new Set(members.flatMap(({ fixes }) => fixes.filter(([of]) => of === name).map(([, fix]) => fix))),
        ],
      },
      identity: [...ids].sort().join(' '),
    };
  });
}

function severityOfGroup(score: string | undefined, members: readonly Known[]): Severity {
  const scored = score === undefined || score === '' ? 'unknown' : severityOfScore(Number(score));
  if (scored !== 'unknown') return scored;
  const named = members.map(({ severity }) => severity).find((word) => typeof word === 'string');
  return severityOf(named);
}
