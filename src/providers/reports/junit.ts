import { type TestFailure, mostFailures } from '../../domain/report.ts';
import { count, createFindings, oneLine } from './findings.ts';
import { type ReportReader, mostStreamedBytes } from './port.ts';
import { type Attributes, numberOf, readXml } from './xml.ts';

const longestName = 300;
const longestFailure = 500;

interface Case {
  readonly name: string;
  outcome: 'passed' | 'skipped' | 'failed' | 'errored';
  message: string;
}

interface Suite {
  readonly name: string;
  readonly declared: { readonly failed: number; readonly errored: number };
  failed: number;
  errored: number;
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
    let current: Case | undefined;

    const tell = (kind: 'failed' | 'errored', name: string, message: string): void => {
      if (failures.length >= mostFailures) return;
      failures.push({ name: oneLine(name, longestName), kind, message: oneLine(message, longestFailure) });
    };

    function openSuite(attributes: Attributes, place: string): void {
      suiteCount += 1;
      const declared = {
        failed: numberOf(attributes, 'failures', place) ?? 0,
        errored: numberOf(attributes, 'errors', place) ?? 0,
      };
      runner ||= attributes['name'] ?? '';
      suites.push({ name: attributes['name'] ?? 'a suite', declared, failed: 0, errored: 0 });
    }

    function closeSuite(): void {
      const suite = suites.pop();
      if (suite === undefined) return;
      // A suite that says it failed, without a test that did: something around its tests broke.
      for (const kind of ['failed', 'errored'] as const) {
        const untold = suite.declared[kind] - suite[kind];
        if (untold > 0) {
          figures.total += untold;
          figures[kind] += untold;
          suite[kind] += untold;
          tell(kind, suite.name, `The suite names ${untold} that no test of it stands for.`);
        }
      }
      const around = suites.at(-1);
      if (around === undefined) return;
      around.failed += suite.failed;
      around.errored += suite.errored;
    }

    function closeCase(): void {
      if (current === undefined) return;
      const { name, outcome, message } = current;
      current = undefined;
      figures.total += 1;
      if (outcome === 'passed') return;
      figures[outcome] += 1;
      if (outcome === 'skipped') return;
      const suite = suites.at(-1);
      if (suite !== undefined) suite[outcome] += 1;
      tell(outcome, name, message);
    }

    await readXml(source, {
      roots: ['testsuites', 'testsuite'],
      maxBytes: this.maxBytes,
      handler: {
        open(path, attributes, place) {
          const element = path.at(-1);
          if (element === 'testsuite') openSuite(attributes, place);
          if (element === 'testcase') {
            const name = [attributes['classname'], attributes['name']].filter(
              (part) => part !== undefined && part !== '',
            );
            current = { name: name.join(' › ') || 'a test without a name', outcome: 'passed', message: '' };
            figures.durationMs += 1_000 * (numberOf(attributes, 'time', place) ?? 0);
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
          if (path.at(-1) === 'testsuite') closeSuite();
        },
      },
    });
    return {
      tool: { name: oneLine(runner, 60) || 'JUnit' },
      lookedAt: `${count(figures.total, 'test')} in ${count(suiteCount, 'suite')}`,
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
