import { type Page, type PageRequest, before, rowsToRead, toPage } from './page.ts';
import type { Db, Row } from './schema.ts';
import { json } from './store.ts';

/** Who did what to what. */
export interface AuditEntry {
  readonly actor: string;
  /** `deployment.approve`, `project.put` … */
  readonly action: string;
  /** The id of the thing, as the API and the Temporal UI show it. */
  readonly object: string;
  readonly detail?: Readonly<Record<string, unknown>>;
}

/** Adds an entry. It is written before the thing is done; what cannot be written is not done. */
export async function appendAudit(db: Db, entry: AuditEntry): Promise<void> {
  await db
    .insertInto('audit')
    .values({ actor: entry.actor, action: entry.action, object: entry.object, detail: json(entry.detail ?? {}) })
    .execute();
}

/** Newest first. */
export async function listAudit(
  db: Db,
  filter: { readonly object?: string | undefined; readonly actor?: string | undefined },
  page: PageRequest,
): Promise<Page<Omit<Row<'audit'>, 'id'>>> {
  const from = before(page);
  let query = db.selectFrom('audit').selectAll();
  if (filter.object !== undefined) query = query.where('object', '=', filter.object);
  if (filter.actor !== undefined) query = query.where('actor', '=', filter.actor);
  if (from !== undefined) query = query.where('id', '<', from);
  const rows = await query.orderBy('id', 'desc').limit(rowsToRead(page)).execute();
  return toPage(rows, page);
}
