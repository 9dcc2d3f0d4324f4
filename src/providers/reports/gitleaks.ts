import { z } from 'zod';
import { createFindings, fileOf } from './findings.ts';
import { each, readJson } from './json.ts';
import { type ReportReader, mostStreamedBytes } from './port.ts';

const Leak = z.looseObject({
  RuleID: z.string(),
  Description: z.string(),
  File: z.string(),
  StartLine: z.number(),
  Commit: z.string().optional(),
});

/** gitleaks' JSON. The secret itself stands in it and is never taken over. A secret has no severity there; one that lies in a repository is critical. */
export const gitleaks: ReportReader = {
  kind: 'gitleaks',
  made: 'gitleaks dir . --report-path gitleaks.json',
  maxBytes: mostStreamedBytes,
  async read(source) {
    const findings = createFindings('gitleaks');
    await readJson(source, {
      maxBytes: this.maxBytes,
      needs: { '': 'array' },
      picks: {
        '*': each(Leak, ({ RuleID, Description, File, StartLine, Commit = '' }) =>
          findings.add({
            rule: RuleID,
            severity: 'critical',
            message: Description,
            file: fileOf(File, source),
            line: StartLine,
            identity: Commit === '' ? undefined : `${Commit} ${StartLine}`,
          }),
        ),
      },
    });
    return {
      tool: { name: 'gitleaks' },
      lookedAt: 'what it was given; its report does not say what',
      ...findings.done(),
    };
  },
};
