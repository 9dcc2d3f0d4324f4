import type { Share } from '../../domain/report.ts';
import { coverageContent, lesserShare, notAllListed } from './cobertura.ts';
import { oneLine } from './findings.ts';
import { type ReportReader, UnreadableReport, mostStreamedBytes } from './port.ts';
import { lines as linesOf } from './text.ts';

const known = /^(?:TN|SF|VER|FN|FNL|FNA|FNDA|FNF|FNH|BRDA|BRF|BRH|DA|LF|LH|MCDC|MCF|MCH|BA)(?=:)|^end_of_record$/;

const counts = /^(?:DA|LF|LH|BRDA|BRF|BRH|FN|FNF|end_of_record)$/;

/**
 * Five count more than they list and have lost nothing. They are known by which counts a record of theirs has, in which order: of llvm-cov, which
 * adds up functions where several share a line (closures, macros); of Node, which counts lines that it was told to ignore as covered; of coverage.py,
 * which does so with branches (`# pragma: no branch`); of Bun, which counts every line of the file; and of simplecov-lcov, which counts lines that it was
 * told to skip (`# :nocov:`). The last two name no function.
 */
const ofLlvm = /^FNF (?:BRF BRH )?LF LH$/;
const ofNode = 'FNF BRF BRH LH LF';
const ofCoveragePy = /^LF LH (?:FNF )?BRF BRH$/;
const ofBun = 'FNF LF LH';
const ofSimplecov = /^LF LH(?: BRF BRH)?$/;

/**
 * Coverage as lcov, Istanbul and coverage.py write it (geninfo(1), section FILES). A record a file, and no mark at the end of the last. Lines are
 * counted, not believed: where a record counts more than it lists and nothing explains that, some were lost.
 */
export const lcov: ReportReader = {
  kind: 'lcov',
  made: 'coverage lcov',
  maxBytes: mostStreamedBytes,
  async read(source) {
    const lines = createTally('lines');
    const branches = createTally('branches');
    let files = 0;
    let record: FileRecord | undefined;
    let last = 0;
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
        const rest = text.slice(tag.length + 1);
        if (tag === 'SF') {
          if (record !== undefined)
            throw new UnreadableReport('begins a record within another: it was cut off', { place });
          record = { file: rest, says: new Map(), functions: 0, lines: noShare(), branches: noShare() };
          files += 1;
          continue;
        }
        if (!counts.test(tag)) continue;
        if (record === undefined) throw new UnreadableReport('has a figure outside of a record', { place });
        const fields = rest.split(',');
        switch (tag) {
          case 'end_of_record':
            lines.add(record, record.lines, place);
            branches.add(record, record.branches, place);
            record = undefined;
            break;
          case 'DA':
            count(record.lines, hits(fields[1], place));
            break;
          case 'BRDA':
            count(record.branches, fields[3] === '-' ? 0 : hits(fields[3], place));
            break;
          case 'FN':
            record.functions += 1;
            break;
          default:
            record.says.set(tag, figure(rest, place));
        }
      }
    }
    if (record !== undefined) {
      throw new UnreadableReport('ends within a record: it was cut off', { place: `line ${last}` });
    }
    if (files === 0) throw new UnreadableReport('has no record of any file');
    const covered = branches.share();
    return coverageContent('lcov', undefined, {
      lines: lines.share(),
      ...(covered.total > 0 ? { branches: covered } : {}),
      files,
    });
  },
};

/** What a record lists, and what it says of itself. */
interface FileRecord {
  readonly file: string;
  readonly says: Map<string, number>;
  functions: number;
  readonly lines: Sum;
  readonly branches: Sum;
}

interface Sum {
  covered: number;
  total: number;
}

/** Adds up one kind of figure over all records. */
interface Tally {
  add(record: FileRecord, listed: Share, place: string): void;
  /** @throws {@link UnreadableReport}: some of what is counted is not listed. */
  share(): Share;
}

function createTally(what: 'lines' | 'branches'): Tally {
  // How many there are by the record itself, and how many of them are covered.
  const [foundTag, hitTag] = what === 'lines' ? ['LF', 'LH'] : ['BRF', 'BRH'];
  const listed = noShare();
  const declared = noShare();
  let lost: UnreadableReport | undefined;
  let namesFunctions = false;
  let countsOthers: boolean | undefined;
  return {
    add(record, own, place) {
      const [found, hit] = [record.says.get(foundTag), record.says.get(hitTag)];
      addTo(listed, own);
      // coverage.py 6.4 to 7.2 says of some files that more lines are covered than there are.
      const isShare = found !== undefined && hit !== undefined && hit <= found;
      addTo(declared, isShare ? { covered: hit, total: found } : own);
      namesFunctions ||= record.functions > 0;
      if (found === undefined || found <= own.total) return;
      const order = [...record.says.keys()].join(' ');
      const countsAsCovered = order === ofNode || (what === 'branches' && ofCoveragePy.test(order));
      if (countsAsCovered && hit !== undefined && hit - own.covered === found - own.total) return;
      countsOthers = (countsOthers ?? true) && isListedWhole(what, order, record) && hit === own.covered;
      const functions = Math.max(record.functions, record.says.get('FNF') ?? 0);
      if (ofLlvm.test(order) && found <= functions * own.total) return;
      const where = `${what} of ${oneLine(record.file, 200)}`;
      lost ??= notAllListed(where, found, own.total, 'Write the report anew, with all that it counts.', place);
    },
    share() {
      // With blank lines and comments, or skipped ones, in it what is declared is no share of anything.
      if (countsOthers === true && !namesFunctions) return listed;
      if (lost !== undefined) throw lost;
      return lesserShare(listed, declared);
    },
  };
}

/** Whether the record is of a tool that lists all lines that count, and adds others to how many there are. */
function isListedWhole(what: 'lines' | 'branches', order: string, { file }: FileRecord): boolean {
  // coverage.py without functions has the order of simplecov-lcov, and not its names: those of Ruby begin at the root of the project.
  return order === ofBun || (what === 'lines' && ofSimplecov.test(order) && file.startsWith('./'));
}

function noShare(): Sum {
  return { covered: 0, total: 0 };
}

function addTo(sum: Sum, { covered, total }: Share): void {
  sum.covered += covered;
  sum.total += total;
}

function count(sum: Sum, times: number): void {
  sum.total += 1;
  if (times > 0) sum.covered += 1;
}

function figure(text: string, place: string): number {
  const value = Number(text === '' ? undefined : text);
  if (!Number.isSafeInteger(value) || value < 0) throw new UnreadableReport('has a count that is no number', { place });
  return value;
}

function hits(field: string | undefined, place: string): number {
  const value = Number(field === '' ? undefined : field);
  if (!Number.isFinite(value)) throw new UnreadableReport('has a line without its hits', { place });
  return value;
}
