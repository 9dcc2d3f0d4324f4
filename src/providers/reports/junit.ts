import { type TestFailure, mostFailures } from '../../domain/report.ts';
import { counted } from '../../domain/counted.ts';
import { createFindings, oneLine } from './findings.ts';
import { type ReportReader, UnreadableReport, mostStreamedBytes } from './port.ts';
import { type Attributes, numberOf, readXml } from './xml.ts';

const longestName = 300;
const longestFailure = 500;

/** pytest counts each subtest that passed, and writes one element for the test they are of (measured with 9.0). */
const countsSubtests = /^pytest(?: tests)?$/;

interface Case {
  readonly name: string;
  outcome: 'passed' | 'skipped' | 'failed' | 'errored';
  message: string;
}

interface Suite {
  readonly name: string;
  readonly declared: { readonly failed: number; readonly errored: number; readonly tests: number };
  failed: number;
  errored: number;
  /** Tests that stand in it, or in one of it. */
  tests: number;
}

/** Results of tests, as nearly every test runner writes them (github.com/testmoapp/junitxml describes the common form). */
export const junit: ReportReader = {
  kind: 'junit',
  made: 'pytest --junitxml=report.xml',
  maxBytes: mostStreamedBytes,
  async read(source) {
    const figures = { total: 0, failed: 0, errored: 0, skipped: 0, durationMs: 0 };
    const failures: TestFailure[] = [];
    const suites: Suite[] = [];
    let suiteCount = 0;
    let runner = '';
    let untold = 0;
    let current: Case | undefined;

    const tell = (kind: 'failed' | 'errored', name: string, message: string): void => {
      if (failures.length >= mostFailures) return;
      failures.push({ name: oneLine(name, longestName), kind, message: oneLine(message, longestFailure) });
    };

    function openSuite(attributes: Attributes, place: string): void {
      const declared = {
        failed: numberOf(attributes, 'failures', place) ?? 0,
        errored: numberOf(attributes, 'errors', place) ?? 0,
        tests: numberOf(attributes, 'tests', place) ?? 0,
      };
      suites.push({ name: attributes['name'] ?? 'a suite', declared, failed: 0, errored: 0, tests: 0 });
    }

    function closeSuite(): void {
      const suite = suites.pop();
      if (suite === undefined) return;
      // A suite that says it failed, without a test that did: something around its tests broke.
      for (const kind of ['failed', 'errored'] as const) {
        const more = suite.declared[kind] - suite[kind];
        if (more > 0) {
          figures.total += more;
          figures[kind] += more;
          suite[kind] += more;
          tell(kind, suite.name, `The suite names ${more} that no test of it stands for.`);
        }
      }
      untold += countsSubtests.test(suite.name) ? 0 : Math.max(0, suite.declared.tests - suite.tests);
      const around = suites.at(-1);
      if (around === undefined) return;
      around.tests += Math.max(suite.tests, suite.declared.tests);
      around.failed += suite.failed;
      around.errored += suite.errored;
    }

    function closeCase(): void {
      if (current === undefined) return;
      const { name, outcome, message } = current;
      current = undefined;
      figures.total += 1;
      const within = suites.at(-1);
      if (within !== undefined) within.tests += 1;
      if (outcome === 'passed') return;
      figures[outcome] += 1;
      if (outcome === 'skipped') return;
      if (within !== undefined) within[outcome] += 1;
      tell(outcome, name, message);
    }

    await readXml(source, {
      roots: ['testsuites', 'testsuite'],
      maxBytes: this.maxBytes,
      handler: {
        open(path, attributes, place) {
          const element = path.at(-1);
          // The document around them counts as they do.
          if (element === 'testsuite' || element === 'testsuites') openSuite(attributes, place);
          if (element === 'testsuite') {
            suiteCount += 1;
            runner ||= attributes['name'] ?? '';
          }
          if (element === 'testcase') {
            const name = [attributes['classname'], attributes['name']].filter(
              (part) => part !== undefined && part !== '',
            );
            // GoogleTest writes one that a filter or `DISABLED_` kept away so, without another element.
            const outcome = attributes['status'] === 'notrun' ? 'skipped' : 'passed';
            current = { name: name.join(' › ') || 'a test without a name', outcome, message: '' };
            // Where a clock was set back in the middle of a test, runners write a time below 0.
            figures.durationMs += 1_000 * Math.max(0, numberOf(attributes, 'time', place, { below0: true }) ?? 0);
          }
          if (current === undefined || path.at(-2) !== 'testcase') return;
          const outcome = outcomes[element ?? ''];
          // The worst of what is said of one test holds.
          if (outcome === undefined || current.outcome === 'errored' || current.outcome === 'failed') return;
          current.outcome = outcome;
          current.message = attributes['message'] ?? attributes['type'] ?? '';
        },
        text(path, text) {
          if (current === undefined || outcomes[path.at(-1) ?? ''] === undefined) return;
          if (current.message.length < longestFailure) current.message += ` ${text.slice(0, longestFailure)}`;
        },
        close(path) {
          if (path.at(-1) === 'testcase') closeCase();
          if (path.at(-1) === 'testsuite' || path.at(-1) === 'testsuites') closeSuite();
        },
      },
    });
    // One that failed needs no more proof; pytest counts a test and what went wrong after it as two.
    if (untold > 0 && figures.failed + figures.errored === 0) {
      throw new UnreadableReport(`counts ${figures.total + untold} tests and lists ${figures.total} of them`, {
        remedy: 'Let the runner write every test; how the others ended is not known.',
      });
    }
    return {
      tool: { name: oneLine(runner, 60) || 'JUnit' },
      lookedAt: `${counted(figures.total, 'test')} in ${counted(suiteCount, 'suite')}`,
      ...createFindings('junit').done(),
      tests: { ...figures, durationMs: Math.round(figures.durationMs), failures },
    };
  },
};

const outcomes: Readonly<Record<string, 'skipped' | 'failed' | 'errored' | undefined>> = {
  failure: 'failed',
  error: 'errored',
  skipped: 'skipped',
};
