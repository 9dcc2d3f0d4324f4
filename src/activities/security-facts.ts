import { sql } from 'kysely';
import type { PlainSetting } from '../definition/plain-settings.ts';
import type { EnvironmentSpec } from '../definition/specs/environment.ts';
import { type AccessFacts, type ComplianceFacts, type VerifiedBackup, looksSecret } from '../domain/security-facts.ts';
import type { Db } from '../store/schema.ts';

/** What of an environment gates 4 and 5 look at. */
export interface SecuredPlace {
  readonly spec: Pick<EnvironmentSpec, 'project' | 'name' | 'policy' | 'database' | 'target' | 'secrets'>;
  /** Settings that the release will run with. */
  readonly settings: Readonly<Record<string, string>>;
  /** Names of the secrets that could be read. */
  readonly resolvedSecrets: readonly string[];
  /** What else stands in the documents as it is. */
  readonly plain: readonly PlainSetting[];
  /** What the project declares; null where it says nothing. */
  readonly encryptionAtRest: boolean | null;
  /** How the forge protects branches; absent where the project does not ask. */
  readonly protections?: AccessFacts['protections'];
}

/** Gate 4. Nothing here asks anybody: what must be known was read for the plan. */
export function accessFacts({ spec, settings, resolvedSecrets, plain, protections }: SecuredPlace): AccessFacts {
  const { approval } = spec.policy;
  return {
    approversAsked: approval.required ? approval.rules.reduce((sum, { count }) => sum + count, 0) : 0,
    plainSecrets: [
      ...Object.entries(settings).flatMap(([name, value]) => (looksSecret(name, value) ? [name] : [])),
      ...plain.flatMap(({ place, name, value }) => (looksSecret(name, value) ? [place] : [])),
    ],
    unresolvedSecrets: Object.keys(spec.secrets).filter((name) => !resolvedSecrets.includes(name)),
    // Of the targets there are, none knows network policies.
    networkPolicies: 'not-applicable',
    ...(protections === undefined ? {} : { protections }),
  };
}

/**
 * Gate 5.
 *
 * @throws `StoreUnavailable` (retried)
 */
export async function complianceFacts(db: Db, { spec, encryptionAtRest }: SecuredPlace): Promise<ComplianceFacts> {
  const [auditWritable, verifiedBackup] = await Promise.all([isAuditWritable(db), verifiedBackupOf(db, spec)]);
  return { auditWritable, encryptionAtRest, verifiedBackup };
}

/** Asked of the server instead of tried: a trial would be an entry of its own with every plan. */
async function isAuditWritable(db: Db): Promise<boolean> {
  const { rows } = await sql<{ writable: boolean }>`
    select has_table_privilege(current_user, 'audit', 'insert')
      and not pg_is_in_recovery()
      and current_setting('transaction_read_only') = 'off' as writable`.execute(db);
  return rows[0]?.writable === true;
}

async function verifiedBackupOf(
  db: Db,
  { project, name, policy, database }: SecuredPlace['spec'],
): Promise<VerifiedBackup> {
  if (database === undefined) return 'not-applicable';
  if (policy.backup.database && policy.backup.prove) return 'before-change';
  const row = await db
    .selectFrom('deploymentSteps')
    .select(['startedAt', 'durationMs'])
    .where('project', '=', project)
    .where('environment', '=', name)
    .where('name', '=', 'back up')
    .where('verdict', '=', 'passed')
    // As `stages/back-up.ts` words it.
    .where('detail', 'like', '%proved by a restore%')
    .orderBy('startedAt', 'desc')
    .limit(1)
    .executeTakeFirst();
  if (row === undefined) return 'none';
  return { at: new Date(Date.parse(row.startedAt) + row.durationMs).toISOString() };
}
