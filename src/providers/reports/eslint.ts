import { z } from 'zod';
import { counted } from '../../domain/counted.ts';
import { type RawFinding, createFindings, fileOf } from './findings.ts';
import { each, readJson } from './json.ts';
import { peek } from './peek.ts';
import { type ReportReader, UnreadableReport, mostStreamedBytes } from './port.ts';

const Message = z.looseObject({
  ruleId: z.string().nullable(),
  severity: z.number(),
  message: z.string(),
  line: z.number().optional(),
  fatal: z.boolean().optional(),
  suppressions: z
    .array(z.looseObject({ kind: z.string().optional(), justification: z.string().optional() }))
    .optional(),
});
type Message = z.output<typeof Message>;

/** ESLint's formatters `json` and `json-with-metadata` (eslint.org/docs/latest/use/formatters). */
export const eslint: ReportReader = {
  kind: 'eslint',
  made: 'eslint --format json --output-file eslint.json .',
  maxBytes: mostStreamedBytes,
  async read(given) {
    const { first, source } = await peek(given);
    const within = first === '[' ? '' : 'results/';
    const findings = createFindings('eslint');
    let files = 0;
    let file = '';
    await readJson(source, {
      maxBytes: this.maxBytes,
      needs: first === '[' ? { '': 'array' } : { results: 'array' },
      picks: {
        [`${within}*/filePath`]: each(z.string(), (path) => {
          files += 1;
          file = fileOf(path, source);
        }),
        [`${within}*/messages/*`]: each(Message, (one) => findings.add(findingOf(one, file))),
        // By a comment such as `eslint-disable-next-line`, or by ESLint's own file of suppressions.
        [`${within}*/suppressedMessages/*`]: each(Message, (one) => {
          const { kind, justification = '' } = one.suppressions?.at(-1) ?? {};
          const where = kind === 'file' ? "in ESLint's file of suppressions" : 'in the source';
          findings.putAside(
            findingOf(one, file),
            `${where}: ${justification === '' ? 'without a reason' : justification}`,
          );
        }),
      },
    });
    if (files === 0) throw new UnreadableReport('says that it looked at no file');
    return { tool: { name: 'ESLint' }, lookedAt: counted(files, 'file'), ...findings.done() };
  },
};

function findingOf({ ruleId, severity, message, line, fatal = false }: Message, file: string): RawFinding {
  return {
    rule: ruleId ?? (fatal ? 'parse-error' : 'without-a-rule'),
    severity: fatal ? 'high' : severity >= 2 ? 'medium' : 'low',
    message,
    file,
    line,
  };
}
