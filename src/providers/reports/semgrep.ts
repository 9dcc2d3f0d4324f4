import { z } from 'zod';
import { counted } from '../../domain/counted.ts';
import { createFindings, fileOf, oneLine, severityOf } from './findings.ts';
import { each, readJson } from './json.ts';
import { type ReportReader, UnreadableReport, mostStreamedBytes } from './port.ts';

const Result = z.looseObject({
  check_id: z.string(),
  path: z.string(),
  start: z.looseObject({ line: z.number() }),
  extra: z.looseObject({ message: z.string(), severity: z.string(), fingerprint: z.string().optional() }),
});
const Failure = z.looseObject({
  level: z.string().optional(),
  /** Its name, or a list that begins with it. */
  type: z.union([z.string(), z.array(z.unknown())]).optional(),
  message: z.string().optional(),
  path: z.string().optional(),
  spans: z.array(z.looseObject({ start: z.looseObject({ line: z.number() }) })).optional(),
});
type Failure = z.output<typeof Failure>;

/**
 * What semgrep gives up a file for, or a rule on a file, and warns of only: it is among `paths.scanned` all the same (`error_type` of
 * semgrep_output_v1.atd).
 */
const givenUp: ReadonlySet<string> = new Set([
  'Lexical error',
  'Syntax error',
  'Other syntax error',
  'AST builder error',
  'Internal matching error',
  'Too many matches',
  'Fatal error',
  'Timeout',
  'Fixpoint timeout',
  'Timeout during interfile analysis',
  'Out of memory',
  'OOM during interfile analysis',
  'Stack overflow',
]);
/** Also where they name a file. A rule for another version or without its plugin is of no use there, and semgrep calls that no failure. */
const harmless: ReadonlySet<string> = new Set([
  'SemgrepWarning',
  'IncompatibleRule',
  'Incompatible rule',
  'Missing plugin',
]);

/**
 * semgrep's JSON. A file that it gave up makes the report errored, as with bandit. One that it parsed but for a part is a finding (`partly-parsed`):
 * mostly its grammar does not know a new or odd construct, which nobody here can mend, so a suppression must be able to put that file aside.
 */
export const semgrep: ReportReader = {
  kind: 'semgrep',
  made: 'semgrep scan --json --output semgrep.json',
  maxBytes: mostStreamedBytes,
  async read(source) {
    const findings = createFindings('semgrep');
    let files = 0;
    let version: string | undefined;
    await readJson(source, {
      maxBytes: this.maxBytes,
      needs: { results: 'array', errors: 'array', 'paths/scanned': 'array' },
      picks: {
        version: each(z.string(), (text) => (version = oneLine(text, 60))),
        'paths/scanned/*': { take: () => void (files += 1) },
        'errors/*': each(Failure, (one) => {
          const { level = 'error', message = '', path, spans } = one;
          if (level === 'error') throw new UnreadableReport(`says that semgrep failed: ${oneLine(message, 300)}`);
          const name = nameOf(one);
          if (name === 'PartialParsing') {
            findings.add({
              rule: 'partly-parsed',
              severity: 'unknown',
              message,
              file: path === undefined ? undefined : fileOf(path, source),
              line: spans?.[0]?.start.line,
            });
            return;
          }
          // One of a kind that is not known yet is taken for what it says: it warns of a file.
          if (!givenUp.has(name) && (level !== 'warn' || path === undefined || harmless.has(name))) return;
          throw new UnreadableReport(
            `says that semgrep did not look at all of ${oneLine(path ?? 'a file', 200)}: ${oneLine(message, 300) || name}`,
            {
              remedy:
                'Correct the file, give semgrep more (`--timeout`, `--max-memory`), or leave it out with `--exclude` or `.semgrepignore`.',
            },
          );
        }),
        'results/*': each(Result, ({ check_id, path, start, extra }) =>
          findings.add({
            rule: check_id,
            severity: severityOf(extra.severity),
            message: extra.message,
            file: fileOf(path, source),
            line: start.line,
            identity: /^[0-9a-f]{32,}/.test(extra.fingerprint ?? '') ? extra.fingerprint : undefined,
          }),
        ),
      },
    });
    if (files === 0) throw new UnreadableReport('says that it looked at no file');
    return {
      tool: { name: 'semgrep', ...(version === undefined ? {} : { version }) },
      lookedAt: counted(files, 'file'),
      ...findings.done(),
    };
  },
};

function nameOf({ type = '' }: Failure): string {
  const name = Array.isArray(type) ? type[0] : type;
  return typeof name === 'string' ? oneLine(name, 60) : '';
}
