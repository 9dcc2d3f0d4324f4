import { z } from 'zod';
import { counted } from '../../domain/counted.ts';
import { createFindings, oneLine, severityOf } from './findings.ts';
import { each, readJson } from './json.ts';
import { type ReportReader, UnreadableReport, mostStreamedBytes } from './port.ts';

const Dependency = z.looseObject({
  fileName: z.string(),
  packages: z.array(z.looseObject({ id: z.string() })).optional(),
  vulnerabilities: z
    .array(z.looseObject({ name: z.string(), severity: z.string().optional(), description: z.string().optional() }))
    .optional(),
});
const Source = z.looseObject({ name: z.string(), timestamp: z.string() });

/** OWASP dependency-check's JSON. An analyser that failed makes it errored. */
export const dependencyCheck: ReportReader = {
  kind: 'dependency-check',
  made: 'dependency-check.sh --format JSON',
  maxBytes: mostStreamedBytes,
  async read(source) {
    const findings = createFindings('dependency-check');
    let dependencies = 0;
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
        'dependencies/*': each(Dependency, ({ fileName, packages = [], vulnerabilities = [] }) => {
          dependencies += 1;
          const { name, version: installed } = componentOf(packages[0]?.id, fileName);
          for (const one of vulnerabilities) {
            findings.add({
              rule: one.name,
              severity: severityOf(one.severity),
              message: one.description ?? one.name,
              component: { name, ...(installed === undefined ? {} : { version: installed }) },
              identity: one.name,
            });
          }
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

/** From a package URL such as `pkg:maven/org.x/y@1.0?type=jar`, else the name of the file. */
function componentOf(purl: string | undefined, fileName: string): { readonly name: string; readonly version?: string } {
  const [, path, version] = /^pkg:[^/]+\/([^@?#]+)(?:@([^?#]+))?/.exec(purl ?? '') ?? [];
  if (path === undefined) return { name: fileName };
  return { name: path, ...(version === undefined ? {} : { version }) };
}
