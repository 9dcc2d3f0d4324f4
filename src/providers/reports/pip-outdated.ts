import { coerce, diff } from 'semver';
import { z } from 'zod';
import { counted } from '../../domain/counted.ts';
import type { Severity } from '../../domain/report.ts';
import { type FindingSet, createFindings } from './findings.ts';
import { each, readJson } from './json.ts';
import { type ReportReader, UnreadableReport, mostHeldBytes } from './port.ts';

const Listed = z.looseObject({ name: z.string(), version: z.string(), latest_version: z.string().optional() });
type Listed = z.output<typeof Listed>;
type Behind = Listed & { readonly latest_version: string };

/**
 * Packages that are behind, as pip lists them. A whole version behind is high, for gate 2 asks for outdated packages (S1-59); less is
 * low or for information. Judgement; `ratings: { outdated: medium }` of the gate lets it pass.
 *
 * pip leaves out what it finds no version of, warns and ends well: without its index nothing is behind, and nothing is up to date either. So three lists
 * are asked for, of all packages, of those up to date and of those behind; who stands only in the first was not looked up.
 */
export const pipOutdated: ReportReader = {
  kind: 'pip-outdated',
  made: "for which in '' --uptodate --outdated; do pip list $which --format=json; done > outdated.json",
  maxBytes: mostHeldBytes,
  async read(source) {
    const lists: Listed[][] = [];
    await readJson(source, {
      maxBytes: this.maxBytes,
      needs: { '': 'array' },
      another() {
        if (lists.length === 3) throw notTheThree();
        lists.push([]);
      },
      picks: { '*': each(Listed, (one) => lists.at(-1)?.push(one)) },
    });
    const findings = createFindings('pip-outdated');
    const lookedAt = lists.length === 1 ? judgeOne(lists[0] ?? [], findings) : judgeThree(lists, findings);
    return { tool: { name: 'pip' }, lookedAt, ...findings.done() };
  },
};

/** Of those behind alone, as it used to be asked for: one that is named was looked up, of the others nothing is known. */
function judgeOne(list: readonly Listed[], findings: FindingSet): string {
  if (list.length === 0) {
    throw new UnreadableReport('lists no package, which pip does as well when it reaches no index', {
      remedy: `Let pip list all packages and those up to date too: ${pipOutdated.made}`,
    });
  }
  const behind = list.filter(isBehind);
  if (behind.length < list.length) throw notTheThree();
  addBehind(behind, findings);
  return `${counted(behind.length, 'package')} ${behind.length === 1 ? 'is' : 'are'} behind; which others pip looked up its report does not say`;
}

function judgeThree(lists: readonly (readonly Listed[])[], findings: FindingSet): string {
  const [all = [], upToDate = [], last = []] = lists;
  const behind = last.filter(isBehind);
  if (lists.length !== 3 || behind.length < last.length || [...all, ...upToDate].some(isBehind)) throw notTheThree();
  addBehind(behind, findings);
  const lookedUp = new Set([...upToDate, ...behind].map(({ name }) => name));
  const others = all.filter(({ name }) => !lookedUp.has(name));
  if (lookedUp.size === 0) {
    throw new UnreadableReport(
      others.length === 0
        ? 'says that it looked at no package'
        : `says that none of ${counted(others.length, 'package')} could be looked up`,
      { remedy: 'Check that pip reaches its index from where the step runs.' },
    );
  }
  for (const { name, version } of others) {
    findings.add({
      rule: 'not-looked-up',
      severity: 'unknown',
      message: `pip found no version of ${name} that is as new as ${version}, or none at all`,
      component: { name, version },
      identity: name,
    });
  }
  return `${counted(lookedUp.size, 'package')}${others.length === 0 ? '' : `, ${others.length} more could not be looked up`}`;
}

function notTheThree(): UnreadableReport {
  return new UnreadableReport('is not made of three lists: all packages, those up to date, those behind', {
    remedy: `Let the step write all three, one after the other: ${pipOutdated.made}`,
  });
}

function isBehind(one: Listed): one is Behind {
  return one.latest_version !== undefined;
}

function addBehind(behind: readonly Behind[], findings: FindingSet): void {
  for (const { name, version, latest_version } of behind) {
    findings.add({
      rule: 'outdated',
      severity: severityOfDistance(version, latest_version),
      message: `${name} ${version} is behind ${latest_version}`,
      component: { name, version, fixedIn: [latest_version] },
      identity: name,
    });
  }
}

function severityOfDistance(version: string, latest: string): Severity {
  const [from, to] = [coerce(version), coerce(latest)];
  if (from === null || to === null) return 'low';
  const distance = diff(from, to);
  return distance === 'major' ? 'high' : distance === 'minor' ? 'low' : 'info';
}
