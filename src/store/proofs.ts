import { ensureEnvironment } from './environments.ts';
import type { Db } from './schema.ts';

/** A backup of an environment that was restored and compared. */
export interface ProofRecord {
  readonly project: string;
  readonly environment: string;
  /** ISO 8601. */
  readonly at: string;
  /** Restore and comparison together. */
  readonly durationMs: number;
}

/** Keeps the newest proof of an environment, whatever order they arrive in. */
export async function recordProof(db: Db, { project, environment, at, durationMs }: ProofRecord): Promise<void> {
  await ensureEnvironment(db, project, environment);
  await db
    .updateTable('environments')
    .set({ provedAt: at, proofMs: Math.round(durationMs) })
    .where('project', '=', project)
    .where('name', '=', environment)
    .where((where) => where.or([where('provedAt', 'is', null), where('provedAt', '<', at)]))
    .execute();
}

/** How long the last proof took; 0 where there was none yet. */
export async function readLastProofMs(db: Db, project: string, environment: string): Promise<number> {
  const row = await db
    .selectFrom('environments')
    .select('proofMs')
    .where('project', '=', project)
    .where('name', '=', environment)
    .executeTakeFirst();
  return row?.proofMs ?? 0;
}
