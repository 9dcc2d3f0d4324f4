import { z } from 'zod';
import { createFindings, oneLine, severityOf } from './findings.ts';
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
});

/** grype's JSON. Its database has a date, so that one that is out of date is seen. */
export const grype: ReportReader = {
  kind: 'grype',
  made: 'grype IMAGE --output json --file grype.json',
  maxBytes: mostStreamedBytes,
  async read(source) {
    const findings = createFindings('grype');
    let target = '';
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
        'matches/*': each(Match, ({ vulnerability, artifact }) =>
          findings.add({
            rule: vulnerability.id,
            severity: severityOf(vulnerability.severity),
            message: vulnerability.description ?? vulnerability.id,
            file: artifact.locations?.[0]?.path,
            component: { name: artifact.name, version: artifact.version, fixedIn: vulnerability.fix?.versions ?? [] },
            identity: vulnerability.id,
          }),
        ),
      },
    });
    if (target === '') throw new UnreadableReport('does not say what grype looked at');
    return {
      tool: {
        name: 'grype',
        ...(version === undefined ? {} : { version }),
        ...(databaseAt === undefined ? {} : { databaseAt }),
      },
      lookedAt: target,
      ...findings.done(),
    };
  },
};
