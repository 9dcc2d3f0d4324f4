import type { Severity } from '../../domain/report.ts';
import { counted } from '../../domain/counted.ts';
import { createFindings, fileOf } from './findings.ts';
import { type ReportReader, UnreadableReport, mostStreamedBytes } from './port.ts';
import { lines } from './text.ts';

const form = /^(.+?):(\d+):(\d+): ([A-Z]{1,3}\d{1,4}) (.*)$/;
/** Broken code, as flake8's own first check in CI takes it: syntax errors, comparisons and names that cannot work. */
const broken = /^(?:E9|F63|F7|F82)/;

/** flake8's lines. Its last one must be the number of `--count`: without it a clean report and a lost one look the same. */
export const flake8: ReportReader = {
  kind: 'flake8',
  made: 'flake8 --count . > flake8.txt',
  maxBytes: mostStreamedBytes,
  async read(source) {
    const findings = createFindings('flake8');
    const files = new Set<string>();
    let found = 0;
    let total: number | undefined;
    for await (const batch of lines(source, this.maxBytes)) {
      for (const { text, number, whole } of batch) {
        const place = `line ${number}`;
        if (text === '') continue;
        if (total !== undefined) throw new UnreadableReport('goes on after its count', { place });
        // Without its line break a number may have lost digits.
        if (/^\d{1,9}$/.test(text) && whole) {
          total = Number(text);
          continue;
        }
        const [, file, line, , rule, message] = form.exec(text) ?? [];
        if (file === undefined || rule === undefined || message === undefined) {
          // What `--statistics` and `--show-source` write stands between or under the findings.
          if (/^\s|^\d+\s+[A-Z]{1,3}\d/.test(text) && whole) continue;
          throw new UnreadableReport(whole ? 'is not in the default form of flake8' : 'was cut off', { place });
        }
        found += 1;
        const where = fileOf(file, source);
        if (files.size < 100_000) files.add(where);
        findings.add({ rule, severity: severityOfRule(rule), message, file: where, line: Number(line) });
      }
    }
    if (total === undefined) {
      throw new UnreadableReport('does not end with a count: it was cut off, or `--count` is missing', {
        remedy: 'Run flake8 with `--count` and keep what it prints.',
      });
    }
    if (total !== found) {
      throw new UnreadableReport(`has ${found} findings, but its count is ${total}`, {
        remedy: 'Keep all that flake8 prints; do not filter its lines.',
      });
    }
    return {
      tool: { name: 'flake8' },
      lookedAt:
        total === 0 ? 'everything it was given, and found nothing' : `${counted(files.size, 'file')} with findings`,
      ...findings.done(),
    };
  },
};

function severityOfRule(rule: string): Severity {
  if (broken.test(rule)) return 'high';
  return rule.startsWith('F') ? 'medium' : 'low';
}
