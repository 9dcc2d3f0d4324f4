import { z } from 'zod';
import type { Severity } from '../../domain/report.ts';
import { counted } from '../../domain/counted.ts';
import { type RawFinding, createFindings, fileOf, oneLine, severityOf, severityOfScore } from './findings.ts';
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
const ToolComponent = z.looseObject({ index: z.number().int().optional() });
const Result = z.looseObject({
  ruleId: z.string().optional(),
  ruleIndex: z.number().int().optional(),
  rule: z
    .looseObject({
      id: z.string().optional(),
      index: z.number().int().optional(),
      toolComponent: ToolComponent.optional(),
    })
    .optional(),
  level: z.string().optional(),
  kind: z.string().optional(),
  baselineState: z.string().optional(),
  message: z.looseObject({ text: z.string().optional(), markdown: z.string().optional() }).optional(),
  locations: z.array(Location).optional(),
  partialFingerprints: z.record(z.string(), z.unknown()).optional(),
  fingerprints: z.record(z.string(), z.unknown()).optional(),
  suppressions: z
    .array(
      z.looseObject({
        kind: z.string().optional(),
        status: z.string().optional(),
        justification: z.string().optional(),
      }),
    )
    .optional(),
  properties: z.looseObject({ 'security-severity': z.union([z.string(), z.number()]).optional() }).optional(),
});
type Result = z.output<typeof Result>;
const Notification = z.looseObject({
  level: z.string().optional(),
  message: z.looseObject({ text: z.string().optional() }).optional(),
});
const Invocation = z.looseObject({
  executionSuccessful: z.boolean().optional(),
  exitCodeDescription: z.string().optional(),
  toolExecutionNotifications: z.array(Notification).optional(),
  toolConfigurationNotifications: z.array(Notification).optional(),
});
/** How much Snyk looked at: packages of its driver, files by language of its run. Neither is of the standard. */
const Coverage = z.looseObject({ files: z.number().optional(), isSupported: z.boolean().optional() });

interface KnownRule {
  readonly id: string;
  /** By its own score. */
  readonly scored: Severity | undefined;
  readonly level: string | undefined;
}

/** Rules of the tool itself stand beside those of its extensions, which are numbered. */
const driver = -1;

/** Results whose rules have not come yet; every tool writes the rules first. Judgement. */
const mostWaiting = 10_000;
/** Rules of one tool; CodeQL has some hundreds. Judgement. */
const mostRules = 50_000;

/** What a run may keep in other files and a report that is whole has in itself: without it, what was found or how grave it is is not known. */
const elsewhere = ['results', 'driver', 'extensions', 'invocations'] as const;

/** What a run shows beside its results, counted anew for each. */
interface Looking {
  results: number;
  artifacts: number;
  invocations: number;
  /** What it says itself that it looked at; absent where it does not say. */
  own?: number;
}

/**
 * Static analysis of any tool (docs.oasis-open.org/sarif/sarif/v2.1.0): CodeQL, Snyk, ESLint, Semgrep, Trivy.
 *
 * A severity is the `security-severity` of the result or its rule, where there is one, else the level: error is high, warning medium, note low.
 * By the standard, results that are absent or null mean that nothing was scanned (3.14.23), and a notification of the level `error` that the
 * results are wrong or not whole (3.58.6). What was put aside by its tool is listed and does not count.
 */
export const sarif: ReportReader = {
  kind: 'sarif',
  made: 'codeql database analyze --format=sarif-latest',
  maxBytes: mostStreamedBytes,
  async read(source) {
    const findings = createFindings('sarif');
    const names: string[] = [];
    /** By component: the driver, and the extensions. */
    const rules = new Map<number, KnownRule[]>();
    const byId = new Map<string, KnownRule>();
    let known = 0;
    let waiting: Result[] = [];
    let toolSeen = false;
    let version: string | undefined;
    let looking: Looking = { results: 0, artifacts: 0, invocations: 0 };
    const all = { runs: 0, results: 0, artifacts: 0, packages: 0 };

    function ruleOf({ ruleId, ruleIndex, rule }: Result): KnownRule | undefined {
      const id = ruleId ?? rule?.id;
      const index = ruleIndex ?? rule?.index;
      const at = index === undefined ? undefined : rules.get(rule?.toolComponent?.index ?? driver)?.[index];
      // An index that names another rule than the id does is of another list of rules.
      return at !== undefined && (id === undefined || id === at.id) ? at : byId.get(id ?? '');
    }
    function found(result: Result): void {
      const rule = ruleOf(result);
      const place = result.locations?.[0]?.physicalLocation;
      const finding = {
        rule: result.ruleId ?? result.rule?.id ?? rule?.id ?? 'without a rule',
        severity: severityOfResult(result, rule),
        message: result.message?.text ?? result.message?.markdown ?? rule?.id ?? '',
        ...located(place?.artifactLocation?.uri, place?.region?.startLine),
        identity: identityOf(result),
      };
      const aside = putAside(result);
      if (aside === undefined) findings.add(finding);
      else findings.putAside(finding, aside);
    }
    function located(uri: string | undefined, line: number | undefined): Pick<RawFinding, 'file' | 'line'> {
      return uri === undefined ? {} : { file: fileOf(pathOf(uri), source), line };
    }
    function flush(): void {
      for (const result of waiting) found(result);
      waiting = [];
    }
    /** Rules, and what waits for them, belong to one run. */
    function endRun(place: string): void {
      flush();
      requireLook(looking, known, place);
      all.runs += 1;
      all.results += looking.results;
      all.artifacts += looking.artifacts;
      all.packages += looking.own ?? 0;
      looking = { results: 0, artifacts: 0, invocations: 0 };
      rules.clear();
      byId.clear();
      known = 0;
      toolSeen = false;
    }
    const addRule = each(Rule, (rule, place) => {
      if ((known += 1) > mostRules) throw new UnreadableReport(`names more than ${mostRules} rules`);
      const component = Number(/\.extensions\[(\d+)\]/.exec(place)?.[1] ?? driver);
      const level = rule.defaultConfiguration?.level;
      const one = { id: rule.id, scored: scored(rule.properties?.['security-severity']), level };
      const alike = rules.get(component) ?? [];
      if (alike.length === 0) rules.set(component, alike);
      alike.push(one);
      // A rule of the tool itself goes before one of the same name that an extension has.
      if (component === driver || !byId.has(rule.id)) byId.set(rule.id, one);
    });

    await readJson(source, {
      maxBytes: this.maxBytes,
      needs: { version: 'value', runs: 'array' },
      parts: {
        'runs/*': {
          needs: { 'tool/driver/name': 'value', results: 'array' },
          missing: {
            results: {
              reason: 'has a run without results, which by the standard means that nothing was scanned',
              remedy: 'Read the log of the tool; one that scanned and found nothing writes an empty list.',
            },
          },
          done: endRun,
        },
      },
      picks: {
        version: each(z.literal('2.1.0'), () => undefined),
        'runs/*/tool/driver/name': each(z.string(), (name) => {
          toolSeen = true;
          names.push(oneLine(name, 60));
        }),
        'runs/*/tool/driver/semanticVersion': each(z.string(), (text) => (version ??= text)),
        'runs/*/tool/driver/version': each(z.string(), (text) => (version ??= text)),
        'runs/*/tool/driver/properties/artifactsScanned': each(z.number(), (number) => {
          looking.own = (looking.own ?? 0) + number;
        }),
        'runs/*/properties/coverage/*': each(Coverage, ({ files = 0, isSupported = true }) => {
          looking.own = (looking.own ?? 0) + (isSupported ? files : 0);
        }),
        'runs/*/tool/driver/rules/*': addRule,
        'runs/*/tool/extensions/*/rules/*': addRule,
        ...Object.fromEntries(
          elsewhere.map((what) => [`runs/*/externalPropertyFileReferences/${what}`, { take: refuseElsewhere(what) }]),
        ),
        'runs/*/artifacts/*': { take: () => void (looking.artifacts += 1) },
        'runs/*/invocations/*': each(Invocation, (invocation, place) => {
          requireSuccess(invocation, place);
          if (invocation.executionSuccessful === true) looking.invocations += 1;
        }),
        'runs/*/results/*': each(Result, (result) => {
          looking.results += 1;
          if (!isAboutWrong(result)) return;
          if (waiting.length >= mostWaiting) throw new UnreadableReport('names its tool after its results');
          // Rules come with the tool; where it was not named yet they are waited for.
          if (toolSeen) found(result);
          else waiting.push(result);
        }),
      },
    });
    if (all.runs === 0) throw new UnreadableReport('has no run of any tool');
    const looked = [
      ...(all.artifacts > 0 ? [counted(all.artifacts, 'file')] : []),
      ...(all.packages > 0 ? [`${all.packages} files or packages by its own count`] : []),
    ];
    return {
      tool: {
        name: [...new Set(names)].slice(0, 5).join(', '),
        ...(version === undefined ? {} : { version: oneLine(version, 60) }),
      },
      lookedAt: [...looked, `${counted(all.runs, 'run')} of it`, counted(all.results, 'result')].join(', '),
      ...findings.done(),
    };
  },
};

/** @throws {@link UnreadableReport}: the tool did not end well, or says that its results are not whole */
function requireSuccess(invocation: z.output<typeof Invocation>, place: string): void {
  const { executionSuccessful, exitCodeDescription } = invocation;
  const remedy = 'Read the log of the tool; what it did not look at is not known.';
  if (executionSuccessful === false) {
    const why = exitCodeDescription === undefined ? '' : `: ${oneLine(exitCodeDescription, 200)}`;
    throw new UnreadableReport(`says itself that the tool did not succeed${why}`, { place, remedy });
  }
  const { toolExecutionNotifications = [], toolConfigurationNotifications = [] } = invocation;
  const error = [...toolExecutionNotifications, ...toolConfigurationNotifications].find(
    ({ level }) => level === 'error',
  );
  if (error === undefined) return;
  throw new UnreadableReport(
    `tells of an error of the tool: ${oneLine(error.message?.text ?? 'without a word', 200)}`,
    {
      place,
      remedy,
    },
  );
}

/** An empty list of results says something only of a tool that shows in any way that it looked. */
function requireLook({ results, artifacts, invocations, own }: Looking, rules: number, place: string): void {
  if (results > 0) return;
  if (own === 0 && artifacts === 0) throw new UnreadableReport('says that it looked at nothing', { place });
  if (artifacts + invocations + rules + (own ?? 0) > 0) return;
  throw new UnreadableReport(
    'has no result, and neither a file, a rule, an invocation nor a count of what was looked at',
    { place, remedy: "Let the tool write its invocation, or use the tool's own form where there is a kind for it." },
  );
}

function refuseElsewhere(what: string): (value: unknown, place: string) => void {
  return (_, place) => {
    throw new UnreadableReport(`keeps its ${what} in another file, which is not read`, {
      place,
      remedy: 'Let the tool write one file with everything in it.',
    });
  };
}

/** Whether a result is about something wrong; what a comparison names as no longer there is not (SARIF 2.1.0, 3.27.24). */
function isAboutWrong({ kind = 'fail', baselineState }: Result): boolean {
  if (baselineState === 'absent') return false;
  return kind === 'fail' || kind === 'open' || kind === 'review';
}

/** Where the tool was told to put it aside, and why; undefined where it was not, or not yet. */
function putAside({ suppressions = [] }: Result): string | undefined {
  const [one] = suppressions;
  if (one === undefined || suppressions.some(({ status = 'accepted' }) => status !== 'accepted')) return undefined;
  const where = one.kind === 'inSource' ? 'in the source' : 'outside of the source';
  return one.justification === undefined || one.justification === ''
    ? `${where}, without a reason`
    : `${where}: ${one.justification}`;
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
