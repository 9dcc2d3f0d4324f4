import { z } from 'zod';
import { coverageContent, readCobertura } from './cobertura.ts';
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
    const lines = { covered: 0, total: 0 };
    const branches = { covered: 0, total: 0 };
    let files = 0;
    let version: string | undefined;
    await readJson(source, {
      maxBytes: this.maxBytes,
      needs: { meta: 'object', files: 'object', totals: 'object' },
      picks: {
        'meta/version': each(z.string(), (text) => (version = text)),
        'files/*/summary': each(Summary, () => (files += 1)),
        totals: each(Summary, ({ covered_lines, num_statements, covered_branches = 0, num_branches = 0 }) => {
          Object.assign(lines, { covered: covered_lines, total: num_statements });
          Object.assign(branches, { covered: covered_branches, total: num_branches });
        }),
      },
    });
    return coverageContent('coverage.py', version, { lines, ...(branches.total > 0 ? { branches } : {}), files });
  },
};
