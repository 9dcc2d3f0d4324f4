import { z } from 'zod';
import { counted } from '../../domain/counted.ts';
import { createFindings } from './findings.ts';
import { each, readJson } from './json.ts';
import { type ReportReader, UnreadableReport, mostStreamedBytes } from './port.ts';

const Dependency = z.looseObject({
  name: z.string(),
  version: z.string().optional(),
  skip_reason: z.string().optional(),
  vulns: z
    .array(
      z.looseObject({
        id: z.string(),
        fix_versions: z.array(z.string()),
        aliases: z.array(z.string()).optional(),
        description: z.string().optional(),
      }),
    )
    .optional(),
});

/** Whoever runs it with `--skip-editable` says that these are the project's own. */
const ownPackage = /marked as editable$/;

/**
 * pip-audit's JSON. It passes over what its service does not know and still ends well: where nothing at all could be looked up, the report is
 * errored, and each package that could not be is a finding (`not-looked-up`), which a suppression can put aside. It has no severities.
 */
export const pipAudit: ReportReader = {
  kind: 'pip-audit',
  made: 'pip-audit --format json --output pip-audit.json',
  maxBytes: mostStreamedBytes,
  async read(source) {
    const findings = createFindings('pip-audit');
    let audited = 0;
    let skipped = 0;
    let why = '';
    await readJson(source, {
      maxBytes: this.maxBytes,
      needs: { dependencies: 'array' },
      picks: {
        'dependencies/*': each(Dependency, ({ name, version, skip_reason, vulns }) => {
          if (vulns === undefined) {
            skipped += 1;
            why ||= skip_reason ?? '';
            if (ownPackage.test(skip_reason ?? '')) return;
            findings.add({
              rule: 'not-looked-up',
              severity: 'unknown',
              message: skip_reason ?? 'pip-audit passed over it and does not say why',
              component: { name },
              identity: name,
            });
            return;
          }
          audited += 1;
          for (const { id, fix_versions, aliases = [], description } of vulns) {
            findings.add({
              rule: aliases.find((alias) => alias.startsWith('CVE-')) ?? id,
              severity: 'unknown',
              message: description ?? id,
              component: { name, ...(version === undefined ? {} : { version }), fixedIn: fix_versions },
              identity: id,
            });
          }
        }),
      },
    });
    if (audited === 0) {
      throw new UnreadableReport(
        skipped === 0
          ? 'says that it looked at no package'
          : `says that none of ${counted(skipped, 'package')} could be looked up: ${why.slice(0, 200)}`,
        { remedy: 'Check that pip-audit reaches its vulnerability service from where the step runs.' },
      );
    }
    return {
      tool: { name: 'pip-audit' },
      lookedAt: `${counted(audited, 'package')}${skipped === 0 ? '' : `, ${skipped} more could not be looked up`}`,
      ...findings.done(),
    };
  },
};
