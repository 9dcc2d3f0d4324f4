import { type RawBuilder, type SqlBool, sql } from 'kysely';
import { type Documentation, documentationAddress } from '../domain/documentation.ts';
import type { Db, Row } from './schema.ts';
import { deleteOld } from './retention.ts';
import { json } from './store.ts';
import { inTransaction } from './transaction.ts';

export interface ArtifactFileRow {
  readonly path: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly blob: string;
}

/** An artifact as it is kept. */
export interface ArtifactRecord {
  readonly project: string;
  readonly run: number;
  readonly stage: string;
  readonly name: string;
  readonly files: readonly ArtifactFileRow[];
  /** The file that its documentation begins with; none where it is just files, and in facts of an older Slipway. */
  readonly entry?: string | null;
  readonly sizeBytes: number;
  readonly createdAt: string;
  readonly expiresAt: string;
}

/** As the table has it. */
export type KeptArtifactRow = ArtifactRecord & { readonly entry: string | null };

export type CacheRow = Row<'caches'>;

/** An artifact; of each name of a stage the one that was made last holds, whenever the others are told of. */
export async function recordArtifact(db: Db, artifact: ArtifactRecord): Promise<void> {
  const { project, run, stage, name, files, entry = null, sizeBytes, createdAt, expiresAt } = artifact;
  await db
    .insertInto('artifacts')
    .values({ project, run, stage, name, files: json(files), entry, sizeBytes, createdAt, expiresAt, removedAt: null })
    .onConflict((conflict) =>
      conflict
        .columns(['project', 'run', 'stage', 'name'])
        .doUpdateSet((set) => ({
          files: set.ref('excluded.files'),
          entry: set.ref('excluded.entry'),
          sizeBytes: set.ref('excluded.sizeBytes'),
          createdAt: set.ref('excluded.createdAt'),
          expiresAt: set.ref('excluded.expiresAt'),
          removedAt: null,
        }))
        .where(sql<boolean>`excluded.created_at >= artifacts.created_at`),
    )
    .execute();
}

/** What is kept of a run and is not over its time. */
export async function listArtifacts(db: Db, project: string, run: number): Promise<readonly KeptArtifactRow[]> {
  return await db
    .selectFrom('artifacts')
    .select(['project', 'run', 'stage', 'name', 'files', 'entry', 'sizeBytes', 'createdAt', 'expiresAt'])
    .where('project', '=', project)
    .where('run', '=', run)
    .where('removedAt', 'is', null)
    .where('expiresAt', '>', sql<string>`now()`)
    .orderBy('stage')
    .orderBy('name')
    .execute();
}

/** Documentation that is kept of a run and is not over its time. */
export async function listDocumentation(db: Db, project: string, run: number): Promise<readonly Documentation[]> {
  const { rows } = await sql<{ stage: string; name: string; entry: string }>`
    select stage, name, entry from artifacts
    where project = ${project} and run = ${run} and entry is not null and removed_at is null and expires_at > now()
    order by stage, name`.execute(db);
  return rows.map((row) => ({
    stage: row.stage,
    name: row.name,
    address: documentationAddress({ project, run }, row),
  }));
}

type ArtifactKey = Pick<ArtifactRecord, 'project' | 'run' | 'stage' | 'name'>;

/** An artifact whose time is over. */
export type ExpiredArtifact = ArtifactKey & Pick<ArtifactRecord, 'sizeBytes'>;

/** Artifacts whose time is over and whose files may still be there, the oldest first. */
export async function listExpiredArtifacts(
  db: Db,
  project: string,
  most = 10_000,
): Promise<readonly ExpiredArtifact[]> {
  return await db
    .selectFrom('artifacts')
    .select(['project', 'run', 'stage', 'name', 'sizeBytes'])
    .where('project', '=', project)
    .where('removedAt', 'is', null)
    .where('expiresAt', '<=', sql<string>`now()`)
    .orderBy('expiresAt')
    .limit(most)
    .execute();
}

function isExpired({ project, run, stage, name }: ArtifactKey): RawBuilder<SqlBool> {
  return sql<SqlBool>`project = ${project} and run = ${run} and stage = ${stage} and name = ${name}
    and removed_at is null and expires_at <= now()`;
}

/** Blobs of such an artifact; none of one that was told of anew since. */
export async function readExpiredBlobs(db: Db, artifact: ArtifactKey): Promise<readonly string[]> {
  const row = await db.selectFrom('artifacts').select('files').where(isExpired(artifact)).executeTakeFirst();
  return row?.files.map(({ blob }) => blob) ?? [];
}

/** Its blobs are gone. */
export async function markArtifactRemoved(db: Db, artifact: ArtifactKey): Promise<void> {
  await db
    .updateTable('artifacts')
    .set({ removedAt: sql<string>`now()` })
    .where(isExpired(artifact))
    .execute();
}

/**
 * Blobs that artifacts of a run name which were not removed.
 *
 * @returns undefined where there is no such run, or it is not over: what it has left may not be on record yet.
 */
export async function readArtifactBlobs(db: Db, project: string, run: number): Promise<readonly string[] | undefined> {
  const { rows } = await sql<{ blobs: string[] }>`
    select coalesce((
      select jsonb_agg(file->>'blob') from artifacts, jsonb_array_elements(artifacts.files) file
      where artifacts.project = runs.project and artifacts.run = runs.number and artifacts.removed_at is null
    ), '[]') as blobs
    from runs where project = ${project} and number = ${run} and outcome is not null`.execute(db);
  return rows[0]?.blobs;
}

/** Which cache of the scopes, in their order: one with the key, else, where `fallback`, the newest of the name. It counts as used from now on. */
export async function findCache(
  db: Db,
  wanted: {
    readonly project: string;
    readonly scopes: readonly string[];
    readonly name: string;
    readonly key: string;
    readonly fallback: boolean;
  },
): Promise<CacheRow | undefined> {
  const { project, scopes, name, key, fallback } = wanted;
  const found = await db
    .selectFrom('caches')
    .selectAll()
    .where('project', '=', project)
    .where('name', '=', name)
    .where('scope', 'in', [...scopes])
    .where((where) => where.or([where('key', '=', key), where.val(fallback)]))
    .orderBy(sql`key <> ${key}`)
    .orderBy(sql`array_position(${[...scopes]}::text[], scope)`)
    .orderBy('createdAt', 'desc')
    .limit(1)
    .executeTakeFirst();
  if (found === undefined) return undefined;
  await db
    .updateTable('caches')
    .set({ usedAt: sql<string>`now()` })
    .where('project', '=', project)
    .where('scope', '=', found.scope)
    .where('name', '=', name)
    .where('key', '=', found.key)
    .execute();
  return found;
}

/**
 * Keeps a cache, and forgets those that were not used for longest until all of the project fit again.
 *
 * @returns blobs that nobody names any more.
 */
export async function putCache(
  db: Db,
  cache: Pick<CacheRow, 'project' | 'scope' | 'name' | 'key' | 'blob' | 'sizeBytes'>,
  totalBytes: number,
): Promise<readonly string[]> {
  return await inTransaction(db, async (tx) => {
    await lockCaches(tx, cache.project);
    const before = await tx
      .deleteFrom('caches')
      .where('project', '=', cache.project)
      .where('scope', '=', cache.scope)
      .where('name', '=', cache.name)
      .where('key', '=', cache.key)
      .returning('blob')
      .execute();
    await tx.insertInto('caches').values(cache).execute();
    return [...before, ...(await forgetUnused(tx, cache.project, totalBytes))].map(({ blob }) => blob);
  });
}

export type LooseBlob = Pick<CacheRow, 'blob' | 'sizeBytes'>;

/** The same where no cache comes: a project may keep less than it did. */
export async function trimCaches(db: Db, project: string, totalBytes: number): Promise<readonly LooseBlob[]> {
  return await inTransaction(db, async (tx) => {
    await lockCaches(tx, project);
    return await forgetUnused(tx, project, totalBytes);
  });
}

/** Two that put at once would each see the other's room as free. */
async function lockCaches(tx: Db, project: string): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtextextended(${`caches/${project}`}, 0))`.execute(tx);
}

async function forgetUnused(tx: Db, project: string, totalBytes: number): Promise<readonly LooseBlob[]> {
  const { rows } = await sql<LooseBlob>`
    delete from caches where project = ${project} and blob in (
      select blob from (
        select blob, sum(size_bytes) over (order by used_at desc, created_at desc, blob) as together
        from caches where project = ${project}) ranked
      where together > ${totalBytes})
    returning blob, size_bytes`.execute(tx);
  return rows;
}

/** Blobs of all caches of a project. */
export async function readCacheBlobs(db: Db, project: string): Promise<readonly string[]> {
  const rows = await db.selectFrom('caches').select('blob').where('project', '=', project).execute();
  return rows.map(({ blob }) => blob);
}

/** It is of no use. */
export async function forgetCache(db: Db, blob: string): Promise<void> {
  await db.deleteFrom('caches').where('blob', '=', blob).execute();
}

export interface CacheUseRecord {
  readonly project: string;
  readonly run: number;
  readonly stage: string;
  readonly cache: string;
  readonly hit: 'exact' | 'fallback' | 'miss';
  readonly sizeBytes: number;
  readonly durationMs: number;
  readonly at: string;
}

export async function recordCacheUse(db: Db, use: CacheUseRecord): Promise<void> {
  await db
    .insertInto('cacheUses')
    .values(use)
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

/** Uses that no hit rate counts any more. @returns how many were removed. */
export async function forgetOldCacheUses(db: Db, keptDays = 90): Promise<number> {
  return await deleteOld(db, 'cache_uses', 'at', keptDays);
}

/** How often caches of a project were found. */
export interface CacheHitRate {
  readonly cache: string;
  readonly uses: number;
  readonly exact: number;
  readonly fallback: number;
  /** Share of uses that found something; null: never used. */
  readonly hitRatio: number | null;
}

/** Caches of a project, the one used last first. */
export async function listCaches(db: Db, project: string): Promise<readonly Omit<CacheRow, 'blob'>[]> {
  return await db
    .selectFrom('caches')
    .select(['project', 'scope', 'name', 'key', 'sizeBytes', 'createdAt', 'usedAt'])
    .where('project', '=', project)
    .orderBy('usedAt', 'desc')
    .limit(500)
    .execute();
}

/** Hit rates by cache over the last days. */
export async function readHitRates(db: Db, project: string, days = 30): Promise<readonly CacheHitRate[]> {
  const { rows } = await sql<{ cache: string; uses: string; exact: string; fallback: string }>`
    select cache, count(*) as uses, count(*) filter (where hit = 'exact') as exact,
           count(*) filter (where hit = 'fallback') as fallback
    from cache_uses where project = ${project} and at > now() - make_interval(days => ${days})
    group by cache order by cache`.execute(db);
  return rows.map((row) => {
    const [uses, exact, fallback] = [Number(row.uses), Number(row.exact), Number(row.fallback)];
    return { cache: row.cache, uses, exact, fallback, hitRatio: uses === 0 ? null : (exact + fallback) / uses };
  });
}
