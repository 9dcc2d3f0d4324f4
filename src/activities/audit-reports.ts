import { renderAuditReport } from '../domain/audit-report-text.ts';
import type { BlobStore } from '../providers/blobs/port.ts';
import { readAuditReport } from '../store/audit-report.ts';
import type { Store } from '../store/store.ts';
import { listRounds } from '../store/upkeep.ts';
import { typed } from './changes.ts';
import type { AuditReportActivities } from './contracts.ts';

export interface AuditReportDependencies {
  readonly store: Pick<Store, 'db'>;
  readonly blobs: Pick<BlobStore, 'put'>;
}

/** The first report of a project looks back so far, days. Judgement: that of its schedule, a month. */
const firstDays = 31;
const dayMs = 86_400_000;

/** Keeps reports of what was done and decided. */
export function createAuditReportActivities({ store, blobs }: AuditReportDependencies): AuditReportActivities {
  return {
    keepAuditReport: ({ project, until }) =>
      typed(async () => {
        const { items } = await listRounds(store.db, { kind: 'audit', subject: project }, { limit: 50 });
        // One that could not be made has no end.
        const last = items.map(({ detail }) => detail['until']).find((end) => typeof end === 'string');
        // From where the last one ended, however late this one is: nothing falls between two reports.
        const since =
          last !== undefined && last < until ? last : new Date(Date.parse(until) - firstDays * dayMs).toISOString();
        const report = await readAuditReport(store.db, { project, since, until });
        const name = until.replaceAll(/[-:]|\.\d+/g, '');
        const key = `audit/${project}/${name}`;
        await blobs.put(`${key}.md`, Buffer.from(renderAuditReport(report)));
        await blobs.put(`${key}.json`, Buffer.from(JSON.stringify(report)));
        return {
          since,
          until,
          files: [`${name}.json`, `${name}.md`],
          deployments: report.deployments.length,
          rollbacks: report.rollbacks.length,
          operatorWords: report.operatorWords.length,
          unproven: report.deployments.flatMap(({ decisions }) => decisions).filter(({ proven }) => !proven).length,
        };
      }),
  };
}
