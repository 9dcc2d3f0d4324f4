import type { DeploymentRef } from '../domain/deployment.ts';
import { publish } from './events.ts';
import type { Db, Row } from './schema.ts';

export type Incident = Row<'incidents'>;

/** Readable, and the same however often it is asked for: nobody has to be asked for it. */
export function incidentId(ref: DeploymentRef): string {
  return `incident/${ref.project}/${ref.environment}/${ref.number}`;
}

/** Days of the post-mortem, Saturdays and Sundays not counted. */
const postMortemBusinessDays = 2;

/** When the post-mortem of something that happened at `at` is due; ISO 8601. */
export function postMortemDue(at: string): string {
  const due = new Date(at);
  for (let left = postMortemBusinessDays; left > 0;) {
    due.setUTCDate(due.getUTCDate() + 1);
    const day = due.getUTCDay();
    if (day !== 0 && day !== 6) left -= 1;
  }
  return due.toISOString();
}

/** One incident a deployment; a second call changes nothing. */
export async function openIncidentRow(
  db: Db,
  ref: DeploymentRef,
  incident: { readonly trigger: string; readonly summary: string; readonly at: string },
): Promise<void> {
  const added = await db
    .insertInto('incidents')
    .values({
      id: incidentId(ref),
      project: ref.project,
      environment: ref.environment,
      number: ref.number,
      trigger: incident.trigger,
      summary: incident.summary,
      openedAt: incident.at,
      postMortemDueAt: postMortemDue(incident.at),
      closedAt: null,
    })
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirst();
  if (added.numInsertedOrUpdatedRows === 1n) {
    await publish(db, [
      {
        kind: 'incident',
        project: ref.project,
        environment: ref.environment,
        number: ref.number,
        data: { id: incidentId(ref), trigger: incident.trigger },
      },
    ]);
  }
}

/** Newest first, at most 200. */
export async function listIncidents(
  db: Db,
  filter: { readonly project?: string | undefined; readonly open?: boolean | undefined },
): Promise<readonly Incident[]> {
  let query = db.selectFrom('incidents').selectAll();
  if (filter.project !== undefined) query = query.where('project', '=', filter.project);
  if (filter.open === true) query = query.where('closedAt', 'is', null);
  return await query.orderBy('openedAt', 'desc').orderBy('id').limit(200).execute();
}

/** The post-mortem is written. @returns whether it was open. */
export async function closeIncident(db: Db, id: string, at: string): Promise<boolean> {
  const changed = await db
    .updateTable('incidents')
    .set({ closedAt: at })
    .where('id', '=', id)
    .where('closedAt', 'is', null)
    .executeTakeFirst();
  return changed.numUpdatedRows > 0n;
}
