/** Findings as code scanning of a forge takes them: SARIF 2.1.0 with what GitHub reads of it, within its limits. */
import type { CountedFinding } from './counted-findings.ts';
import type { GateName } from './gate.ts';
import type { Finding, Severity } from './report.ts';

/** GitHub takes 20 runs in a file and 25,000 results in a run, and shows the 5,000 gravest (docs.github.com, SARIF support). */
export const mostRuns = 20;
export const mostResults = 5_000;

const levels: Readonly<Record<Severity, 'error' | 'warning' | 'note'>> = {
  critical: 'error',
  high: 'error',
  unknown: 'error',
  medium: 'warning',
  low: 'note',
  info: 'note',
};

/** Over 9.0 is critical, 7.0 high, 4.0 medium (the same page). What a tool does not rate stands with high. */
const scores: Readonly<Record<Severity, string>> = {
  critical: '9.5',
  high: '8.0',
  unknown: '8.0',
  medium: '5.5',
  low: '2.0',
  info: '0.0',
};

/** Gates whose findings code scanning takes. */
export const scanningGates: readonly GateName[] = ['code-security', 'container'];

/** A tool that looked for a gate. */
export interface LookedTool {
  readonly gate: GateName;
  readonly name: string;
  readonly version?: string;
}

/**
 * A run for each tool of each gate, under a category of its own.
 *
 * @param looked - tools that looked, also those that found nothing: what they had is closed by that.
 */
export function sarifOf(project: string, findings: readonly CountedFinding[], looked: readonly LookedTool[]): object {
  const tools = [...new Map(looked.map((tool) => [`${tool.gate}/${tool.name}`, tool])).values()].slice(0, mostRuns);
  return {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: tools.map(({ gate, name, version }) => {
      // Without a place in the repository there is nothing to show it at.
      const own = findings
        .filter((one) => one.gate === gate && one.tool.name === name)
        .flatMap(({ finding }) => {
          const uri = uriOf(gate, finding);
          return uri === undefined ? [] : [{ finding, uri }];
        })
        .slice(0, mostResults);
      const rules = [...new Map(own.map(({ finding }) => [finding.rule, finding])).values()];
      return {
        tool: {
          driver: {
            name,
            ...(version === undefined ? {} : { version }),
            rules: rules.map(({ rule, severity }) => ({
              id: rule,
              shortDescription: { text: rule },
              defaultConfiguration: { level: levels[severity] },
              properties: { tags: ['security'], 'security-severity': scores[severity] },
            })),
          },
        },
        // Several projects may look at one repository, and GitHub takes each tool once a category.
        automationDetails: { id: `slipway/${project}/${gate === 'code-security' ? '' : `${gate}/`}${name}/` },
        results: own.map(({ finding, uri }) => ({
          ruleId: finding.rule,
          level: levels[finding.severity],
          message: { text: finding.message === '' ? finding.rule : finding.message },
          locations: [
            {
              physicalLocation: {
                artifactLocation: { uri: encodeURI(uri) },
                region: { startLine: finding.line ?? 1 },
              },
            },
          ],
          partialFingerprints: { primaryLocationLineHash: `${finding.fingerprint}:1` },
        })),
      };
    }),
  };
}

/** Where it is shown; undefined where the repository has no place for it. What is in an image stands under the name of that, or of its file there. */
function uriOf(gate: GateName, { file, component }: Finding): string | undefined {
  if (gate === 'container') return file?.replace(/^\/+/, '') ?? component?.name ?? 'image';
  return file === undefined || file.startsWith('/') ? undefined : file;
}
