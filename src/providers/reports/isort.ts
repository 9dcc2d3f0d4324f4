import { counted } from '../../domain/counted.ts';
import { createFindings } from './findings.ts';
import { addUnformatted, changedLines } from './diffs.ts';
import { type ReportReader, UnreadableReport, mostHeldBytes } from './port.ts';
import { whole } from './text.ts';

const good = /^SUCCESS: .+ Everything Looks Good!$/gm;
const bad = /^ERROR: (.+) Imports are incorrectly sorted and\/or formatted\.$/gm;

/**
 * What `isort --check-only` says, with or without its diff. It must be `--verbose`: without it a clean report is empty, as a lost one is. It has
 * no mark at its end: cut off between two files it reads as one of fewer files.
 */
export const isort: ReportReader = {
  kind: 'isort',
  made: 'isort --check-only --diff --verbose . > isort.txt 2>&1',
  maxBytes: mostHeldBytes,
  async read(source) {
    const text = await whole(source, this.maxBytes);
    if (!text.endsWith('\n')) throw new UnreadableReport('ends in the middle of a line: it was cut off');
    if (/^Traceback /m.test(text)) throw new UnreadableReport('holds the trace of a crash');
    const files = new Set([...text.matchAll(bad)].map(([, file = '']) => file));
    const clean = [...text.matchAll(good)].length;
    if (files.size + clean === 0) {
      throw new UnreadableReport('names no file that was looked at', {
        remedy: 'Run isort with `--check-only --verbose` and keep its error output too: `> isort.txt 2>&1`.',
      });
    }
    const [, version] = /^\s*VERSION (\d+(?:\.\w+)+)/m.exec(text) ?? [];
    const findings = createFindings('isort');
    const changes = await changedLines(text, (header) => header.replace(/:before(?:\t.*)?$/s, ''));
    addUnformatted(findings, files, changes, source, {
      rule: 'imports',
      what: 'has its imports in another order than isort would',
    });
    return {
      tool: { name: 'isort', ...(version === undefined ? {} : { version }) },
      lookedAt: counted(files.size + clean, 'file'),
      ...findings.done(),
    };
  },
};
