import { sql } from 'kysely';
import type { UpkeepKind, UpkeepRound } from '../domain/upkeep.ts';
import type { Verdict } from '../domain/verdict.ts';
import { type Page, type PageRequest, before, rowsToRead, toPage } from './page.ts';
import type { Db, Row } from './schema.ts';
import { json } from './store.ts';

/** Rounds of the disk watch come every few minutes and tell of that moment. Judgement: a week shows how a disk filled. */
const diskDays = 7;
/** The others are evidence: a year and a month, so that an audit of the year before has them. Judgement. */
const otherDays = 400;

/** A round as it is kept. */
export type StoredRound = Omit<Row<'upkeepRounds'>, 'id'>;

export async function recordRound(db: Db, round: UpkeepRound): Promise<void> {
  const { project = null, environment = null, lines, detail, ...rest } = round;
  await db
    .insertInto('upkeepRounds')
    .values({ ...rest, project, environment, lines: json(lines), detail: json(detail) })
    .execute();
}

/** What is known of each thing that upkeep looks after: its newest round. By kind and subject. */
export async function readUpkeep(
  db: Db,
  filter: { readonly kind?: UpkeepKind | undefined; readonly project?: string | undefined } = {},
): Promise<readonly StoredRound[]> {
  let query = db
    .selectFrom('upkeepRounds')
    .distinctOn(['kind', 'subject'])
    .select(['kind', 'subject', 'project', 'environment', 'verdict', 'summary', 'lines', 'detail', 'at']);
  if (filter.kind !== undefined) query = query.where('kind', '=', filter.kind);
  if (filter.project !== undefined) query = query.where('project', '=', filter.project);
  return await query.orderBy('kind').orderBy('subject').orderBy('id', 'desc').limit(1_000).execute();
}

/** Newest first. */
export async function listRounds(
  db: Db,
  filter: {
    readonly kind?: UpkeepKind | undefined;
    readonly subject?: string | undefined;
    readonly project?: string | undefined;
  },
  page: PageRequest,
): Promise<Page<StoredRound>> {
  const from = before(page);
  let query = db.selectFrom('upkeepRounds').selectAll();
  if (filter.kind !== undefined) query = query.where('kind', '=', filter.kind);
  if (filter.subject !== undefined) query = query.where('subject', '=', filter.subject);
  if (filter.project !== undefined) query = query.where('project', '=', filter.project);
  if (from !== undefined) query = query.where('id', '<', from);
  return toPage(await query.orderBy('id', 'desc').limit(rowsToRead(page)).execute(), page);
}

/** @returns how many were forgotten. */
export async function forgetOldRounds(db: Db): Promise<number> {
  const { numAffectedRows } = await sql`
    delete from upkeep_rounds
    where at < now() - make_interval(days => case when kind = 'disk' then ${diskDays}::int else ${otherDays}::int end)`.execute(
    db,
  );
  return Number(numAffectedRows ?? 0);
}

/** A machine says that it is there. */
export async function noteMachine(db: Db, machine: { readonly queue: string; readonly name: string }): Promise<void> {
  await db
    .insertInto('machines')
    .values(machine)
    .onConflict((conflict) => conflict.column('queue').doUpdateSet({ name: machine.name, seenAt: sql<string>`now()` }))
    .execute();
}

/** Machines that were there in the last days, by name. */
export async function listMachines(
  db: Db,
  days: number,
): Promise<readonly { readonly queue: string; readonly name: string }[]> {
  return await db
    .selectFrom('machines')
    .select(['queue', 'name'])
    .where('seenAt', '>', sql<string>`now() - make_interval(days => ${days})`)
    .orderBy('name')
    .orderBy('queue')
    .limit(500)
    .execute();
}

/** The worst that the newest rounds say of the disks; `inconclusive` where nobody has looked for longer than `maxAgeMs`, or ever. */
export async function readDiskVerdict(db: Db, maxAgeMs: number): Promise<Verdict> {
  const { rows } = await sql<{ verdict: Verdict; stale: boolean }>`
    select distinct on (subject) verdict, at < now() - make_interval(secs => ${maxAgeMs / 1000}) as stale
    from upkeep_rounds where kind = 'disk' order by subject, id desc`.execute(db);
  const fresh = rows.filter(({ stale }) => !stale).map(({ verdict }) => verdict);
  for (const verdict of ['failed', 'errored', 'inconclusive', 'passed'] as const) {
    if (fresh.includes(verdict)) return verdict;
  }
  return 'inconclusive';
}
