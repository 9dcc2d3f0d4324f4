import { coerce, diff } from 'semver';
import { z } from 'zod';
import type { Severity } from '../../domain/report.ts';
import { createFindings } from './findings.ts';
import { each, readJson } from './json.ts';
import { type ReportReader, mostHeldBytes } from './port.ts';

const Outdated = z.looseObject({ name: z.string(), version: z.string(), latest_version: z.string() });

/**
 * Packages that are behind, as pip lists them. A whole version behind is high, for gate 2 asks for outdated packages (S1-59); less is
 * low or for information. Judgement; `ratings: { outdated: medium }` of the gate lets it pass.
 */
export const pipOutdated: ReportReader = {
  kind: 'pip-outdated',
  made: 'pip list --outdated --format=json > outdated.json',
  maxBytes: mostHeldBytes,
  async read(source) {
    const findings = createFindings('pip-outdated');
    await readJson(source, {
      maxBytes: this.maxBytes,
      needs: { '': 'array' },
      picks: {
        '*': each(Outdated, ({ name, version, latest_version }) =>
          findings.add({
            rule: 'outdated',
            severity: severityOfDistance(version, latest_version),
            message: `${name} ${version} is behind ${latest_version}`,
            component: { name, version, fixedIn: [latest_version] },
            identity: name,
          }),
        ),
      },
    });
    return { tool: { name: 'pip' }, lookedAt: 'all packages of the environment', ...findings.done() };
  },
};

function severityOfDistance(version: string, latest: string): Severity {
  const [from, to] = [coerce(version), coerce(latest)];
  if (from === null || to === null) return 'low';
  const distance = diff(from, to);
  return distance === 'major' ? 'high' : distance === 'minor' ? 'low' : 'info';
}
