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
const Failure = z.looseObject({ level: z.string().optional(), message: z.string().optional() });

/** semgrep's JSON. */
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
        'errors/*': each(Failure, ({ level = 'error', message = '' }) => {
          // A warning is about a part of one file; an error is about a rule or a file that was not looked at.
          if (level !== 'error') return;
          throw new UnreadableReport(`says that semgrep failed: ${oneLine(message, 300)}`);
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
