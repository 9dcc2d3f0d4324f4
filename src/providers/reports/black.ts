import { counted } from '../../domain/counted.ts';
import { createFindings } from './findings.ts';
import { addUnformatted, changedLines } from './diffs.ts';
import { type ReportReader, UnreadableReport, mostHeldBytes } from './port.ts';
import { whole } from './text.ts';

const would = /^would reformat (.+)$/gm;
const failed = /^error: cannot format (.+?): (.*)$/m;
const summary =
  /^(?=\d)(?:(\d+) files? would be reformatted)?(?:, )?(?:(\d+) files? would be left unchanged)?(?:, )?(?:(\d+) files? would fail to reformat)?\.$/m;

/** What `black --check` says, with or without its diff. The summary goes to the error output: both must be kept. */
export const black: ReportReader = {
  kind: 'black',
  made: 'black --check --diff . > black.txt 2>&1',
  maxBytes: mostHeldBytes,
  async read(source) {
    const text = await whole(source, this.maxBytes);
    const [found, changed = '0', same = '0', broken = '0'] = summary.exec(text) ?? [];
    if (found === undefined) {
      throw new UnreadableReport(
        'has no line such as `1 file would be reformatted`: it was cut off, or is no report of black',
        {
          remedy: 'Run `black --check` and keep its error output too: `> black.txt 2>&1`.',
        },
      );
    }
    if (Number(broken) > 0) {
      const [, file = 'a file', why = ''] = failed.exec(text) ?? [];
      throw new UnreadableReport(`says that black could not read ${file.slice(0, 200)}: ${why.slice(0, 200)}`);
    }
    const files = new Set([...text.matchAll(would)].map(([, file = '']) => file));
    const total = Number(changed) + Number(same);
    if (files.size !== Number(changed)) {
      throw new UnreadableReport(`names ${files.size} of the ${changed} files that black would change`, {
        remedy: 'Run black without `--quiet`.',
      });
    }
    if (total === 0) throw new UnreadableReport('says that it looked at no file');
    const findings = createFindings('black');
    // A tab divides the name from the time.
    const changes = await changedLines(text, (header) => header.split('\t')[0] ?? header);
    addUnformatted(findings, files, changes, source, { rule: 'format', what: 'is not formatted as black would' });
    return { tool: { name: 'black' }, lookedAt: counted(total, 'file'), ...findings.done() };
  },
};
