import { sql } from 'kysely';
import type { DeploymentRef } from '../domain/deployment.ts';
import type { RunRef } from '../domain/run.ts';
import type { Db } from './schema.ts';
import { inTransaction } from './transaction.ts';

/**
 * Longest that a run or deployment claims an image, days; it ends before with its holder's outcome. Judgement: longer than any deployment waits
 * for people and any store for its disk, and short enough that a row of nobody keeps no image for ever.
 */
export const useDays = 7;
/**
 * How long a removal is claimed since it was last renewed, s. Nothing that its owner has asked of the registry may arrive later: one request to a
 * registry takes 45 s at most (15 s, and the same for a token and for the second try), and a stopped worker renews nothing.
 */
export const removalSeconds = 120;

/** Who needs an image. */
export type ImageUser =
  /** Several images of a run may go to one repository, each for itself. */
  { readonly run: RunRef; readonly image: string } | { readonly deployment: DeploymentRef };

export interface UseClaim {
  readonly user: ImageUser;
  /** `host:port/path` */
  readonly repository: string;
  /** Empty: whatever the repository comes to hold, for who pushes knows the digest afterwards. */
  readonly digests: readonly string[];
}

/** One attempt to remove images; nobody else's. */
export interface Removal {
  /** Another one for each attempt: what an attempt that is given up still does must not be taken for this one's. */
  readonly holder: string;
  readonly project: string;
  readonly repository: string;
}

/** Of `claim`: in force, and its holder has no outcome yet. The outcome is written with the records that keep the image from then on. */
const holds = sql`claim.expires_at > clock_timestamp()
  and not exists (select 1 from runs where runs.project = claim.project and runs.number = claim.run and runs.outcome is not null)
  and not exists (
    select 1 from deployments d
    where d.project = claim.project and d.environment = claim.environment and d.number = claim.deployment and d.outcome is not null
  )`;

/**
 * Claims images for a run or a deployment, in place of what the same claimed there before. From then on no removal of them begins; one that has
 * begun goes on, and is to be waited for.
 *
 * @returns whether nobody is removing any of them. The claim stands either way.
 */
export async function claimUse(db: Db, { user, repository, digests }: UseClaim): Promise<boolean> {
  const wanted = digests.length === 0 ? [''] : [...new Set(digests)];
  const { holder, project, run, environment, deployment } = rowOf(user);
  return await inTransaction(db, async (tx) => {
    await lockForUse(tx, [repository]);
    await sql`delete from registry_claims where holder = ${holder} and repository = ${repository}`.execute(tx);
    await sql`
      insert into registry_claims (repository, digest, purpose, holder, project, run, environment, deployment, expires_at)
      select ${repository}, wanted, 'use', ${holder}, ${project}, ${run}, ${environment}, ${deployment},
        clock_timestamp() + make_interval(days => ${useDays})
      from unnest(${wanted}::text[]) wanted`.execute(tx);
    return !(await isBeingRemoved(tx, repository, digests));
  });
}

/**
 * Makes whoever wants to remove something of these repositories wait until the transaction has ended, and the other way round. Those who claim
 * for use do not wait for each other.
 */
export async function lockForUse(tx: Db, repositories: Iterable<string>): Promise<void> {
  for (const repository of [...new Set(repositories)].sort()) {
    await sql`select pg_advisory_xact_lock_shared(hashtextextended(${lockOf(repository)}, 0))`.execute(tx);
  }
}

/** @param digests - empty: any of the repository. */
async function isBeingRemoved(db: Db, repository: string, digests: readonly string[]): Promise<boolean> {
  const { rows } = await sql<{ busy: boolean }>`
    select exists (
      select 1 from registry_claims claim where claim.repository = ${repository} and claim.purpose = 'removal'
        and (${digests.length === 0} or claim.digest = any(${digests}::text[])) and ${holds}
    ) as busy`.execute(db);
  return rows[0]?.busy ?? true;
}

/**
 * Claims a group of digests for removal, all of them or none: looking for other claims and making this one are one transaction, which nobody who
 * claims gets between.
 *
 * @returns false where somebody has a claim on one of them, or on the whole repository.
 */
export async function claimRemoval(
  db: Db,
  { holder, project, repository }: Removal,
  digests: readonly string[],
): Promise<boolean> {
  const wanted = [...new Set(digests)];
  return await inTransaction(db, async (tx) => {
    await sql`select pg_advisory_xact_lock(hashtextextended(${lockOf(repository)}, 0))`.execute(tx);
    const { rows } = await sql<{ claimed: boolean }>`
      with free as (
        select where not exists (
          select 1 from registry_claims claim
          where claim.repository = ${repository} and claim.holder <> ${holder}
            and (claim.digest = '' or claim.digest = any(${wanted}::text[])) and ${holds}
        )
      ), made as (
        insert into registry_claims (repository, digest, purpose, holder, project, expires_at)
        select ${repository}, wanted, 'removal', ${holder}, ${project},
          clock_timestamp() + make_interval(secs => ${removalSeconds})
        from free cross join unnest(${wanted}::text[]) wanted
        on conflict (repository, digest, holder) do update set expires_at = excluded.expires_at
        returning 1
      )
      select exists (select 1 from made) as claimed`.execute(tx);
    return rows[0]?.claimed ?? false;
  });
}

/**
 * Renews everything that a removal has claimed.
 *
 * @returns whether all of these digests are still claimed: who was away for so long that they are not must not go on.
 */
export async function renewRemoval(db: Db, { holder }: Removal, digests: readonly string[]): Promise<boolean> {
  const { rows } = await sql<{ held: number }>`
    with renewed as (
      update registry_claims set expires_at = clock_timestamp() + make_interval(secs => ${removalSeconds})
      where holder = ${holder} and purpose = 'removal' and expires_at > clock_timestamp()
      returning digest
    )
    select count(*)::integer as held from renewed where digest = any(${digests}::text[])`.execute(db);
  return rows[0]?.held === new Set(digests).size;
}

/** Whether somebody has claimed one of these digests since they were claimed for removal, and waits for them now. */
export async function isWaitedFor(db: Db, { repository }: Removal, digests: readonly string[]): Promise<boolean> {
  const { rows } = await sql<{ waited: boolean }>`
    select exists (
      select 1 from registry_claims claim where claim.repository = ${repository} and claim.purpose = 'use'
        and (claim.digest = '' or claim.digest = any(${digests}::text[])) and ${holds}
    ) as waited`.execute(db);
  return rows[0]?.waited ?? true;
}

/**
 * Gives back what a removal has claimed.
 *
 * @param except - digests that the registry may still be about to remove: they stay claimed until nothing can arrive any more.
 */
export async function endRemoval(db: Db, { holder }: Removal, except: readonly string[] = []): Promise<void> {
  await sql`
    delete from registry_claims where holder = ${holder} and digest <> all(${[...except]}::text[])`.execute(db);
}

/** Deletes claims of runs and deployments that are over. */
export async function forgetEndedClaims(db: Db): Promise<void> {
  await sql`delete from registry_claims claim where claim.purpose = 'use' and not (${holds})`.execute(db);
}

/** What removals had claimed that were stopped in the middle: of these something may be left. */
export async function readBrokenRemovals(
  db: Db,
  repository: string,
): Promise<{ readonly holders: readonly string[]; readonly digests: readonly string[] }> {
  const { rows } = await sql<{ holder: string; digest: string }>`
    select holder, digest from registry_claims
    where repository = ${repository} and purpose = 'removal' and expires_at <= clock_timestamp()`.execute(db);
  const of = (key: 'holder' | 'digest'): readonly string[] => [...new Set(rows.map((row) => row[key]))];
  return { holders: of('holder'), digests: of('digest') };
}

/** Forgets removals of which nothing is left. */
export async function forgetBrokenRemovals(db: Db, holders: readonly string[]): Promise<void> {
  if (holders.length === 0) return;
  await sql`
    delete from registry_claims
    where holder = any(${[...holders]}::text[]) and purpose = 'removal' and expires_at <= clock_timestamp()`.execute(
    db,
  );
}

function lockOf(repository: string): string {
  return `registry/${repository}`;
}

function rowOf(user: ImageUser): {
  readonly holder: string;
  readonly project: string;
  readonly run: number | null;
  readonly environment: string | null;
  readonly deployment: number | null;
} {
  if ('run' in user) {
    const { project, number } = user.run;
    const holder = `run ${project}/${number} ${user.image}`;
    return { holder, project, run: number, environment: null, deployment: null };
  }
  const { project, environment, number } = user.deployment;
  const holder = `deployment ${project}/${environment}/${number}`;
  return { holder, project, run: null, environment, deployment: number };
}
