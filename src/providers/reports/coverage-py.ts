import { z } from 'zod';
import type { Share } from '../../domain/report.ts';
import { coverageContent, lesserShare, notAllListed, readCobertura } from './cobertura.ts';
import { each, readJson } from './json.ts';
import { peek } from './peek.ts';
import { type ReportReader, mostStreamedBytes } from './port.ts';

const figure = z.number().int().nonnegative();
const Summary = z.looseObject({
  covered_lines: figure,
  num_statements: figure,
  num_branches: figure.optional(),
  covered_branches: figure.optional(),
});

/** coverage.py's own two forms: `coverage json` and `coverage xml`, told apart by how they begin. */
export const coveragePy: ReportReader = {
  kind: 'coverage-py',
  made: 'coverage json',
  maxBytes: mostStreamedBytes,
  async read(given) {
    const { first, source } = await peek(given);
    if (first === '<') return await readCobertura(source, 'coverage.py');
    /** Added up, and as it says itself. */
    const listed = { lines: { covered: 0, total: 0 }, branches: { covered: 0, total: 0 } };
    let totals: Shares = listed;
    let files = 0;
    let version: string | undefined;
    await readJson(source, {
      maxBytes: this.maxBytes,
      needs: { meta: 'object', files: 'object', totals: 'object' },
      picks: {
        'meta/version': each(z.string(), (text) => (version = text)),
        'files/*/summary': each(Summary, (summary) => {
          files += 1;
          const { lines, branches } = sharesOf(summary);
          add(listed.lines, lines);
          add(listed.branches, branches);
        }),
        totals: each(Summary, (summary) => (totals = sharesOf(summary))),
      },
    });
    const lines = agreed('lines', listed.lines, totals.lines);
    const branches = agreed('branches', listed.branches, totals.branches);
    return coverageContent('coverage.py', version, { lines, ...(branches.total > 0 ? { branches } : {}), files });
  },
};

interface Shares {
  readonly lines: Share;
  readonly branches: Share;
}

function sharesOf(summary: z.output<typeof Summary>): Shares {
  const { covered_lines, num_statements, covered_branches = 0, num_branches = 0 } = summary;
  return {
    lines: { covered: covered_lines, total: num_statements },
    branches: { covered: covered_branches, total: num_branches },
  };
}

function add(sum: { covered: number; total: number }, { covered, total }: Share): void {
  sum.covered += covered;
  sum.total += total;
}

/** Its totals are the sum of its files and nothing else. */
function agreed(what: string, listed: Share, totals: Share): Share {
  if (totals.total > listed.total) {
    throw notAllListed(what, totals.total, listed.total, 'Write the report with the summaries of all of its files.');
  }
  return lesserShare(listed, totals);
}
