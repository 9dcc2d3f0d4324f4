import { z } from 'zod';
import { counted } from '../../domain/counted.ts';
import type { Component } from '../../domain/report.ts';
import { type RawFinding, createFindings, oneLine, severityOf } from './findings.ts';
import { each, readJson } from './json.ts';
import { type ReportReader, UnreadableReport, mostStreamedBytes } from './port.ts';

const Vulnerability = z.looseObject({
  name: z.string(),
  severity: z.string().optional(),
  description: z.string().optional(),
  /** Of one that a suppression file put aside. */
  notes: z.string().nullable().optional(),
});
type Vulnerability = z.output<typeof Vulnerability>;
const Source = z.looseObject({ name: z.string(), timestamp: z.string() });

/** OWASP dependency-check's JSON. An analyser that failed makes it errored. */
export const dependencyCheck: ReportReader = {
  kind: 'dependency-check',
  made: 'dependency-check.sh --format JSON',
  maxBytes: mostStreamedBytes,
  async read(source) {
    const findings = createFindings('dependency-check');
    let dependencies = 0;
    let component: Component & { readonly purl: boolean } = { name: '', purl: false };
    let version: string | undefined;
    let databaseAt: string | undefined;
    await readJson(source, {
      maxBytes: this.maxBytes,
      needs: { reportSchema: 'value', scanInfo: 'object', dependencies: 'array' },
      picks: {
        'scanInfo/engineVersion': each(z.string(), (text) => (version = oneLine(text, 60))),
        'scanInfo/dataSource/*': each(Source, ({ name, timestamp }) => {
          const at = Date.parse(timestamp);
          if (/NVD.*(?:Checked|Modified)/i.test(name) && Number.isFinite(at)) databaseAt ??= new Date(at).toISOString();
        }),
        'scanInfo/analysisExceptions/*': {
          take: (value) => {
            throw new UnreadableReport(`says that an analyser failed: ${oneLine(JSON.stringify(value), 300)}`);
          },
        },
        // Name and packages of a dependency stand before what is known against it.
        'dependencies/*/fileName': each(z.string(), (name) => {
          dependencies += 1;
          component = { name, purl: false };
        }),
        'dependencies/*/packages/*/id': each(z.string(), (id) => {
          // The first of its names.
          if (!component.purl) component = { ...(componentOf(id) ?? component), purl: true };
        }),
        'dependencies/*/vulnerabilities/*': each(Vulnerability, (one) => findings.add(findingOf(one, component))),
        'dependencies/*/suppressedVulnerabilities/*': each(Vulnerability, (one) => {
          const why = one.notes ?? '';
          findings.putAside(
            findingOf(one, component),
            `by a suppression file: ${why === '' ? 'without a reason' : why}`,
          );
        }),
      },
    });
    if (dependencies === 0) throw new UnreadableReport('says that it looked at no dependency');
    return {
      tool: {
        name: 'dependency-check',
        ...(version === undefined ? {} : { version }),
        ...(databaseAt === undefined ? {} : { databaseAt }),
      },
      lookedAt: counted(dependencies, 'dependency').replace('dependencys', 'dependencies'),
      ...findings.done(),
    };
  },
};

function findingOf({ name, severity, description }: Vulnerability, component: Component): RawFinding {
  return { rule: name, severity: severityOf(severity), message: description ?? name, component, identity: name };
}

/** From a package URL such as `pkg:maven/org.x/y@1.0?type=jar`; undefined for anything else. */
function componentOf(purl: string): Component | undefined {
  const [, path, version] = /^pkg:[^/]+\/([^@?#]+)(?:@([^?#]+))?/.exec(purl) ?? [];
  if (path === undefined) return undefined;
  return { name: path, ...(version === undefined ? {} : { version }) };
}
