import { counted } from '../../domain/counted.ts';
import { createFindings, fileOf } from './findings.ts';
import { type ReportReader, UnreadableReport, mostStreamedBytes } from './port.ts';
import { lines } from './text.ts';

const form = /^(.+?):(\d+)(?::\d+){0,3}: (error|note): (.*?)(?:  \[([a-z0-9-]+)\])?$/;
const summary =
  /^(?:Found (\d+) errors? in \d+ files? \((?:checked (\d+) source files?|errors prevented further checking)\)|Success: no issues found in (\d+) source files?)$/;

/** mypy's text; its last line says how many files were checked. */
export const mypy: ReportReader = {
  kind: 'mypy',
  made: 'mypy . > mypy.txt',
  maxBytes: mostStreamedBytes,
  async read(source) {
    const findings = createFindings('mypy');
    let found = 0;
    let end: { readonly errors: number; readonly files: number | undefined } | undefined;
    for await (const batch of lines(source, this.maxBytes)) {
      for (const { text, number, whole } of batch) {
        const place = `line ${number}`;
        const [matched, errors, checked, clean] = whole ? (summary.exec(text) ?? []) : [];
        if (matched !== undefined) {
          const files = checked ?? clean;
          end = { errors: Number(errors ?? 0), files: files === undefined ? undefined : Number(files) };
          continue;
        }
        const [, file, line, level, message, code] = form.exec(text) ?? [];
        if (file === undefined || message === undefined) {
          if (/^Traceback |INTERNAL ERROR/.test(text))
            throw new UnreadableReport('holds the trace of a crash', { place });
          continue;
        }
        if (level === 'note') continue;
        found += 1;
        findings.add({
          rule: code ?? 'error',
          severity: 'medium',
          message,
          file: fileOf(file, source),
          line: Number(line),
        });
      }
    }
    if (end === undefined) {
      throw new UnreadableReport('has no line `Found … errors` or `Success`: it was cut off, or is no report of mypy', {
        remedy: 'Keep all that mypy prints, without `--output json` and `--no-error-summary`.',
      });
    }
    if (end.errors > found) throw new UnreadableReport(`names ${found} of the ${end.errors} errors that it found`);
    if (end.files === 0) throw new UnreadableReport('says that it looked at no file');
    return {
      tool: { name: 'mypy' },
      lookedAt: end.files === undefined ? 'files up to the first that could not be parsed' : counted(end.files, 'file'),
      ...findings.done(),
    };
  },
};
