import { z } from 'zod';
import type { Severity } from '../../domain/report.ts';
import { counted } from '../../domain/counted.ts';
import { type RawFinding, createFindings, oneLine, severityOf, severityOfScore } from './findings.ts';
import { each, readJson } from './json.ts';
import { type ReportReader, UnreadableReport, mostStreamedBytes } from './port.ts';

const Cvss = z.looseObject({
  base_score: z.number().nullable().optional(),
  base_severity: z.string().nullable().optional(),
});
const Vulnerability = z.looseObject({
  vulnerability_id: z.string(),
  package_name: z.string(),
  analyzed_version: z.string().nullable().optional(),
  advisory: z.string().nullable().optional(),
  CVE: z.string().nullable().optional(),
  ignored: z.union([z.boolean(), z.string()]).nullable().optional(),
  ignored_reason: z.string().nullable().optional(),
  ignored_expires: z.string().nullable().optional(),
  fixed_versions: z.array(z.string()).nullable().optional(),
  severity: z.looseObject({ cvssv3: Cvss.nullable().optional() }).nullable().optional(),
});
const Ignored = z.looseObject({
  code: z.string().optional(),
  reason: z.string().nullable().optional(),
  expires: z.string().nullable().optional(),
});
const Dependency = z.looseObject({
  name: z.string(),
  specifications: z.array(
    z.looseObject({
      raw: z.string().optional(),
      vulnerabilities: z
        .looseObject({
          known_vulnerabilities: z
            .array(z.looseObject({ id: z.string(), ignored: Ignored.nullable().optional() }))
            .optional(),
        })
        .optional(),
    }),
  ),
});

/** `safety check --output json` and `safety scan --output json`. What has no severity stays without: the gate takes that for high. */
export const safety: ReportReader = {
  kind: 'safety',
  made: 'safety check --output json > safety.json',
  maxBytes: mostStreamedBytes,
  async read(source) {
    const findings = createFindings('safety');
    const seen = { check: false, scan: false };
    let packages = 0;
    let version: string | undefined;
    let databaseAt: string | undefined;
    await readJson(source, {
      maxBytes: this.maxBytes,
      needs: { '': 'object' },
      picks: {
        'report_meta/safety_version': each(z.string(), (text) => (version = oneLine(text, 60))),
        'report_meta/packages_found': each(z.number(), (number) => (packages = number)),
        'meta/version': each(z.string(), (text) => (version = oneLine(text, 60))),
        'report_meta/vulnerabilities_found': { take: () => (seen.check = true) },
        'meta/scan_type': { take: () => (seen.scan = true) },
        'report_meta/timestamp': { take: () => undefined },
        'report_meta/database_timestamp': each(z.string(), (text) => (databaseAt = text)),
        'vulnerabilities/*': each(Vulnerability, (one) => {
          const ignored = one.ignored === true || (typeof one.ignored === 'string' && one.ignored !== '');
          if (ignored) findings.putAside(findingOf(one), aside(one.ignored_reason, one.ignored_expires));
          else findings.add(findingOf(one));
        }),
        // `safety check` leaves them out of the others.
        'ignored_vulnerabilities/*': each(Vulnerability, (one) =>
          findings.putAside(findingOf(one), aside(one.ignored_reason, one.ignored_expires)),
        ),
        'scan_results/projects/*/files/*/results/dependencies/*': each(Dependency, ({ name, specifications }) => {
          packages += 1;
          for (const { raw = '', vulnerabilities } of specifications) {
            const [, pinned] = /==\s*([^\s;,]+)/.exec(raw) ?? [];
            for (const { id, ignored } of vulnerabilities?.known_vulnerabilities ?? []) {
              const finding = {
                rule: id,
                severity: 'unknown' as const,
                message: `${name} has the known vulnerability ${id}`,
                component: { name, ...(pinned === undefined ? {} : { version: pinned }) },
                identity: id,
              };
              if (typeof ignored?.code === 'string') findings.putAside(finding, aside(ignored.reason, ignored.expires));
              else findings.add(finding);
            }
          }
        }),
      },
    });
    if (!seen.check && !seen.scan)
      throw new UnreadableReport('is not a report of this tool: it has no `report_meta` and no `meta`');
    if (packages === 0) throw new UnreadableReport('says that it looked at no package');
    return {
      tool: {
        name: 'safety',
        ...(version === undefined ? {} : { version }),
        ...(databaseAt === undefined ? {} : { databaseAt }),
      },
      lookedAt: counted(packages, 'package'),
      ...findings.done(),
    };
  },
};

function findingOf(one: z.output<typeof Vulnerability>): RawFinding {
  return {
    rule: one.CVE ?? one.vulnerability_id,
    severity: severityOfAdvisory(one.severity?.cvssv3 ?? undefined),
    message: one.advisory ?? one.vulnerability_id,
    component: {
      name: one.package_name,
      ...(typeof one.analyzed_version === 'string' ? { version: one.analyzed_version } : {}),
      fixedIn: one.fixed_versions ?? [],
    },
    identity: one.vulnerability_id,
  };
}

/** A policy file or an option of safety says so, and may say why and until when. */
function aside(reason: string | null | undefined, expires: string | null | undefined): string {
  const until = expires === undefined || expires === null || expires === '' ? '' : ` until ${expires}`;
  return `ignored${until}: ${reason === undefined || reason === null || reason === '' ? 'without a reason' : reason}`;
}

function severityOfAdvisory(cvss: z.output<typeof Cvss> | undefined): Severity {
  const named = severityOf(cvss?.base_severity);
  return named === 'unknown' ? severityOfScore(cvss?.base_score ?? undefined) : named;
}
