import { z } from 'zod';
import type { Severity } from '../../domain/report.ts';
import { type RawFinding, count, createFindings, fileOf, oneLine, severityOf, severityOfScore } from './findings.ts';
import { each, readJson } from './json.ts';
import { type ReportReader, UnreadableReport, mostStreamedBytes } from './port.ts';

const Rule = z.looseObject({
  id: z.string(),
  defaultConfiguration: z.looseObject({ level: z.string().optional() }).optional(),
  properties: z.looseObject({ 'security-severity': z.union([z.string(), z.number()]).optional() }).optional(),
});
const Location = z.looseObject({
  physicalLocation: z
    .looseObject({
      artifactLocation: z.looseObject({ uri: z.string().optional() }).optional(),
      region: z.looseObject({ startLine: z.number().optional() }).optional(),
    })
    .optional(),
});
const Result = z.looseObject({
  ruleId: z.string().optional(),
  ruleIndex: z.number().int().optional(),
  rule: z.looseObject({ id: z.string().optional(), index: z.number().int().optional() }).optional(),
  level: z.string().optional(),
  kind: z.string().optional(),
  message: z.looseObject({ text: z.string().optional(), markdown: z.string().optional() }).optional(),
  locations: z.array(Location).optional(),
  partialFingerprints: z.record(z.string(), z.unknown()).optional(),
  fingerprints: z.record(z.string(), z.unknown()).optional(),
  suppressions: z.array(z.looseObject({ status: z.string().optional() })).optional(),
  properties: z.looseObject({ 'security-severity': z.union([z.string(), z.number()]).optional() }).optional(),
});
type Result = z.output<typeof Result>;
const Notification = z.looseObject({ level: z.string().optional() });
const Invocation = z.looseObject({
  executionSuccessful: z.boolean().optional(),
  exitCodeDescription: z.string().optional(),
  toolExecutionNotifications: z.array(Notification).optional(),
});

interface KnownRule {
  readonly id: string;
  /** By its own score. */
  readonly scored: Severity | undefined;
  readonly level: string | undefined;
}

/** Results whose rules have not come yet; every tool writes the rules first. Judgement. */
const mostWaiting = 10_000;
/** Rules of one tool; CodeQL has some hundreds. Judgement. */
const mostRules = 50_000;

/**
 * Static analysis of any tool (docs.oasis-open.org/sarif/sarif/v2.1.0): CodeQL, Snyk, ESLint, Semgrep, Trivy.
 *
 * A severity is the `security-severity` of the result or its rule, where there is one, else the level: error is high, warning medium, note low.
 */
export const sarif: ReportReader = {
  kind: 'sarif',
  made: 'codeql database analyze --format=sarif-latest',
  maxBytes: mostStreamedBytes,
  async read(source) {
    const findings = createFindings('sarif');
    const names: string[] = [];
    const artifacts = { listed: 0 };
    const rules: KnownRule[] = [];
    const byId = new Map<string, KnownRule>();
    let waiting: Result[] = [];
    let toolSeen = false;
    let version: string | undefined;
    let runs = 0;
    let results = 0;

    function found(result: Result): void {
      const id = result.ruleId ?? result.rule?.id;
      const index = result.ruleIndex ?? result.rule?.index;
      const at = index === undefined ? undefined : rules[index];
      // An index that names another rule than the id does is of another list of rules.
      const rule = at !== undefined && (id === undefined || id === at.id) ? at : byId.get(id ?? '');
      const place = result.locations?.[0]?.physicalLocation;
      findings.add({
        rule: id ?? rule?.id ?? 'without a rule',
        severity: severityOfResult(result, rule),
        message: result.message?.text ?? result.message?.markdown ?? rule?.id ?? '',
        ...located(place?.artifactLocation?.uri, place?.region?.startLine),
        identity: identityOf(result),
      });
    }
    function located(uri: string | undefined, line: number | undefined): Pick<RawFinding, 'file' | 'line'> {
      return uri === undefined ? {} : { file: fileOf(pathOf(uri), source), line };
    }
    function flush(): void {
      for (const result of waiting) found(result);
      waiting = [];
    }

    await readJson(source, {
      maxBytes: this.maxBytes,
      needs: { version: 'value', runs: 'array' },
      picks: {
        version: each(z.literal('2.1.0'), () => undefined),
        'runs/*/tool/driver/name': each(z.string(), (name) => {
          // Rules and what waits for them belong to one run.
          if (toolSeen) {
            flush();
            rules.length = 0;
            byId.clear();
          }
          toolSeen = true;
          runs += 1;
          names.push(oneLine(name, 60));
        }),
        'runs/*/tool/driver/semanticVersion': each(z.string(), (text) => (version ??= text)),
        'runs/*/tool/driver/version': each(z.string(), (text) => (version ??= text)),
        'runs/*/tool/driver/rules/*': each(Rule, (rule) => {
          if (rules.length >= mostRules) throw new UnreadableReport(`names more than ${mostRules} rules`);
          const level = rule.defaultConfiguration?.level;
          const known = { id: rule.id, scored: scored(rule.properties?.['security-severity']), level };
          rules.push(known);
          byId.set(rule.id, known);
        }),
        'runs/*/artifacts/*': { take: () => void (artifacts.listed += 1) },
        'runs/*/invocations/*': each(Invocation, (invocation, place) => {
          if (invocation.executionSuccessful !== false) return;
          throw new UnreadableReport(
            `says itself that the tool did not succeed${invocation.exitCodeDescription === undefined ? '' : `: ${oneLine(invocation.exitCodeDescription, 200)}`}`,
            { place, remedy: 'Read the log of the tool; what it did not look at is not known.' },
          );
        }),
        'runs/*/results/*': each(Result, (result) => {
          if (!counts(result)) return;
          results += 1;
          if (waiting.length >= mostWaiting) throw new UnreadableReport('names its tool after its results');
          // Rules come with the tool; where it was not named yet they are waited for.
          if (toolSeen) found(result);
          else waiting.push(result);
        }),
      },
    });
    flush();
    if (runs === 0) throw new UnreadableReport('has no run of any tool');
    const looked = artifacts.listed > 0 ? `${count(artifacts.listed, 'file')}, ` : '';
    return {
      tool: {
        name: [...new Set(names)].slice(0, 5).join(', '),
        ...(version === undefined ? {} : { version: oneLine(version, 60) }),
      },
      lookedAt: `${looked}${count(runs, 'run')} of it, ${count(results, 'result')}`,
      ...findings.done(),
    };
  },
};

/** Whether a result is about something wrong that nobody has put aside in the source itself. */
function counts({ kind = 'fail', suppressions = [] }: Result): boolean {
  if (kind !== 'fail' && kind !== 'open' && kind !== 'review') return false;
  return !suppressions.some(({ status = 'accepted' }) => status === 'accepted');
}

function severityOfResult(result: Result, rule: KnownRule | undefined): Severity {
  const own = scored(result.properties?.['security-severity']) ?? rule?.scored;
  return own ?? severityOf(result.level ?? rule?.level ?? 'warning');
}

function scored(score: string | number | undefined): Severity | undefined {
  return score === undefined ? undefined : severityOfScore(Number(score));
}

function identityOf({ partialFingerprints = {}, fingerprints = {} }: Result): string | undefined {
  const all = { ...partialFingerprints, ...fingerprints };
  const names = Object.keys(all).sort();
  return names.length === 0 ? undefined : names.map((name) => `${name}=${String(all[name])}`).join(' ');
}

function pathOf(uri: string): string {
  try {
    return decodeURIComponent(uri.replace(/^file:\/\//, ''));
  } catch {
    return uri;
  }
}
