import { sql } from 'kysely';
import { channels } from './events.ts';
import type { Db, Row } from './schema.ts';

/** Whose output it is: a step of a run, or of a deployment. */
export interface LogOwner {
  readonly project: string;
  readonly run?: number | undefined;
  readonly environment?: string | undefined;
  /** Number of the deployment. */
  readonly number?: number | undefined;
  readonly stage: string;
  readonly step: string;
  /** From 1; each attempt has a log of its own. */
  readonly attempt: number;
}

/** A piece of a log as it was written; all pieces of a log are in one blob. */
export interface LogSegment {
  /** From 0, without gaps. */
  readonly sequence: number;
  readonly blob: string;
  /** Where in the whole log it begins. */
  readonly offsetBytes: number;
  readonly sizeBytes: number;
  readonly at: string;
}

export type LogStream = Row<'logStreams'>;

/** Name of a log; the same owner always has the same. */
export function logId(owner: LogOwner): string {
  const of =
    owner.run === undefined
      ? `deployment/${owner.project}/${owner.environment ?? ''}/${owner.number ?? 0}`
      : `run/${owner.project}/${owner.run}`;
  return `${of}/${owner.stage}/${owner.step}/${owner.attempt}`;
}

/** The log exists from now on; a second call changes nothing. */
export async function openLog(db: Db, owner: LogOwner, at: string): Promise<void> {
  await db
    .insertInto('logStreams')
    .values({
      log: logId(owner),
      project: owner.project,
      run: owner.run ?? null,
      environment: owner.environment ?? null,
      number: owner.number ?? null,
      stage: owner.stage,
      step: owner.step,
      attempt: owner.attempt,
      openedAt: at,
      closedAt: null,
      blob: null,
    })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  await notifyLog(db, logId(owner));
}

/** A log is begun; whatever an earlier attempt at the same left open has ended with it, so that nobody waits for more of it. */
export async function beginLog(db: Db, owner: LogOwner, at: string): Promise<void> {
  await openLog(db, owner, at);
  if (owner.attempt === 1) return;
  const { run = null, environment = null, number = null } = owner;
  await db
    .updateTable('logStreams')
    .set({ closedAt: at })
    .where('project', '=', owner.project)
    .where('run', 'is not distinct from', run)
    .where('environment', 'is not distinct from', environment)
    .where('number', 'is not distinct from', number)
    .where('stage', '=', owner.stage)
    .where('step', '=', owner.step)
    .where('attempt', '<', owner.attempt)
    .where('closedAt', 'is', null)
    .execute();
}

/** More of a log can be read. The same segment again changes nothing. */
export async function addSegment(db: Db, owner: LogOwner, segment: LogSegment): Promise<void> {
  await openLog(db, owner, segment.at);
  const log = logId(owner);
  await db
    .insertInto('logSegments')
    .values({ log, ...segment })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  await db
    .updateTable('logStreams')
    .set({
      sizeBytes: sql<number>`greatest(size_bytes, ${segment.offsetBytes + segment.sizeBytes}::bigint)`,
      blob: segment.blob,
    })
    .where('log', '=', log)
    .where('closedAt', 'is', null)
    .execute();
}

/** The log is whole: nothing more will come. */
export async function closeLog(
  db: Db,
  owner: LogOwner,
  end: { readonly at: string; readonly sizeBytes: number; readonly blob?: string | undefined },
): Promise<void> {
  await openLog(db, owner, end.at);
  await db
    .updateTable('logStreams')
    .set({ closedAt: end.at, sizeBytes: end.sizeBytes, ...(end.blob === undefined ? {} : { blob: end.blob }) })
    .where('log', '=', logId(owner))
    .execute();
}

async function notifyLog(db: Db, log: string): Promise<void> {
  await sql`select pg_notify(${channels.logs}, ${log})`.execute(db);
}

/** The logs of a run, in the order in which they were opened; of each step the last attempt last. */
export async function listLogs(
  db: Db,
  of:
    | { readonly project: string; readonly run: number }
    | { readonly project: string; readonly environment: string; readonly number: number },
): Promise<readonly LogStream[]> {
  const query = db.selectFrom('logStreams').selectAll().where('project', '=', of.project);
  const mine =
    'run' in of
      ? query.where('run', '=', of.run)
      : query.where('run', 'is', null).where('environment', '=', of.environment).where('number', '=', of.number);
  return await mine.orderBy('openedAt').orderBy('attempt').orderBy('log').execute();
}

export async function readLog(db: Db, log: string): Promise<LogStream | undefined> {
  return await db.selectFrom('logStreams').selectAll().where('log', '=', log).executeTakeFirst();
}

/** The pieces of a log in order: when which part of it was written. */
export async function readSegments(db: Db, log: string): Promise<readonly LogSegment[]> {
  return await db
    .selectFrom('logSegments')
    .select(['sequence', 'blob', 'offsetBytes', 'sizeBytes', 'at'])
    .where('log', '=', log)
    .orderBy('sequence')
    .execute();
}
