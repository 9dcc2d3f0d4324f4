import { z } from 'zod';
import { type RawFinding, createFindings, oneLine, severityOf } from './findings.ts';
import { each, readJson } from './json.ts';
import { type ReportReader, UnreadableReport, mostStreamedBytes } from './port.ts';

const Match = z.looseObject({
  vulnerability: z.looseObject({
    id: z.string(),
    severity: z.string().optional(),
    description: z.string().optional(),
    fix: z.looseObject({ versions: z.array(z.string()).nullable().optional() }).optional(),
  }),
  artifact: z.looseObject({
    name: z.string(),
    version: z.string(),
    locations: z
      .array(z.looseObject({ path: z.string().optional() }))
      .nullable()
      .optional(),
  }),
  appliedIgnoreRules: z
    .array(z.looseObject({ reason: z.string().optional(), vulnerability: z.string().optional() }))
    .nullable()
    .optional(),
});
type Match = z.output<typeof Match>;

/** grype's JSON. Its database has a date, so that one that is out of date is seen. */
export const grype: ReportReader = {
  kind: 'grype',
  made: 'grype IMAGE --output json --file grype.json',
  maxBytes: mostStreamedBytes,
  async read(source) {
    const findings = createFindings('grype');
    let target = '';
    let type = '';
    let distribution = '';
    let matches = 0;
    let version: string | undefined;
    let databaseAt: string | undefined;
    const built = each(z.string(), (text) => {
      const at = Date.parse(text);
      if (Number.isFinite(at)) databaseAt = new Date(at).toISOString();
    });
    await readJson(source, {
      maxBytes: this.maxBytes,
      needs: { matches: 'array', source: 'object', descriptor: 'object' },
      picks: {
        'descriptor/version': each(z.string(), (text) => (version = oneLine(text, 60))),
        // Before 0.88 and since.
        'descriptor/db/built': built,
        'descriptor/db/status/built': built,
        'source/target': {
          // The folder that was scanned, or the image with its names.
          take: (value) => {
            const named: unknown =
              typeof value === 'string' ? value : (value as Record<string, unknown> | null)?.['userInput'];
            if (typeof named === 'string') target = oneLine(named, 300);
          },
        },
        'matches/*': each(Match, (one) => {
          matches += 1;
          findings.add(findingOf(one));
        }),
        'ignoredMatches/*': each(Match, (one) => {
          matches += 1;
          const reasons = (one.appliedIgnoreRules ?? []).flatMap(({ reason }) => (reason ? [reason] : []));
          findings.putAside(findingOf(one), `ignored by grype's rules: ${reasons.join('; ') || 'without a reason'}`);
        }),
        'distro/name': each(z.string(), (text) => (distribution = oneLine(text, 60))),
        'source/type': each(z.string(), (text) => (type = text)),
      },
    });
    if (type === 'image' && matches === 0 && distribution === '') {
      throw new UnreadableReport(
        'names no match and no distribution: whether grype knew any package of the image is not known',
        {
          remedy:
            'Let Slipway make and scan a bill of materials (`images.scan`), or use a report that counts packages.',
        },
      );
    }
    if (target === '') throw new UnreadableReport('does not say what grype looked at');
    return {
      tool: {
        name: 'grype',
        ...(version === undefined ? {} : { version }),
        ...(databaseAt === undefined ? {} : { databaseAt }),
      },
      // It says of what it matched only, not how many packages it knew.
      lookedAt: distribution === '' ? target : `${target} (${distribution})`,
      ...findings.done(),
    };
  },
};

function findingOf({ vulnerability, artifact }: Match): RawFinding {
  return {
    rule: vulnerability.id,
    severity: severityOf(vulnerability.severity),
    message: vulnerability.description ?? vulnerability.id,
    file: artifact.locations?.[0]?.path,
    component: { name: artifact.name, version: artifact.version, fixedIn: vulnerability.fix?.versions ?? [] },
    identity: vulnerability.id,
  };
}
