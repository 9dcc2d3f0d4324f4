import { coverageContent } from './cobertura.ts';
import { type ReportReader, UnreadableReport, mostStreamedBytes } from './port.ts';
import { lines as linesOf } from './text.ts';

const known = /^(?:TN|SF|VER|FN|FNL|FNA|FNDA|FNF|FNH|BRDA|BRF|BRH|DA|LF|LH|MCDC|MCF|MCH|BA)(?=:)|^end_of_record$/;

/** Coverage as lcov, Istanbul and coverage.py write it (geninfo(1), section FILES). A record a file, and no mark at the end of the last. */
export const lcov: ReportReader = {
  kind: 'lcov',
  made: 'coverage lcov',
  maxBytes: mostStreamedBytes,
  async read(source) {
    const lines = { covered: 0, total: 0 };
    const branches = { covered: 0, total: 0 };
    let files = 0;
    let open = false;
    let last = 0;
    const needFile = (place: string): void => {
      if (!open) throw new UnreadableReport('has a figure outside of a record', { place });
    };
    for await (const batch of linesOf(source, this.maxBytes)) {
      for (const { text, number, whole } of batch) {
        const place = `line ${number}`;
        last = number;
        if (!whole && text !== 'end_of_record')
          throw new UnreadableReport('ends in the middle of a line: it was cut off', { place });
        if (text === '' || text.startsWith('#')) continue;
        const [tag] = known.exec(text) ?? [];
        if (tag === undefined) {
          throw new UnreadableReport('is not in the form of lcov', {
            place,
            remedy: 'Check that the path names the tracefile.',
          });
        }
        const fields = text.slice(tag.length + 1).split(',');
        if (tag === 'SF') {
          if (open) throw new UnreadableReport('begins a record within another: it was cut off', { place });
          open = true;
          files += 1;
        }
        if (tag === 'end_of_record') {
          needFile(place);
          open = false;
        }
        if (tag === 'DA') {
          needFile(place);
          lines.total += 1;
          if (hits(fields[1], place) > 0) lines.covered += 1;
        }
        if (tag === 'BRDA') {
          needFile(place);
          branches.total += 1;
          if (fields[3] !== '-' && hits(fields[3], place) > 0) branches.covered += 1;
        }
      }
    }
    if (open) throw new UnreadableReport('ends within a record: it was cut off', { place: `line ${last}` });
    if (files === 0) throw new UnreadableReport('has no record of any file');
    return coverageContent('lcov', undefined, { lines, ...(branches.total > 0 ? { branches } : {}), files });
  },
};

function hits(field: string | undefined, place: string): number {
  const value = Number(field === '' ? undefined : field);
  if (!Number.isFinite(value)) throw new UnreadableReport('has a line without its hits', { place });
  return value;
}
