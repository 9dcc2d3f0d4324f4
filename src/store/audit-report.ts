import { sql } from 'kysely';
import { type AuditReport, type AuditedDeployment, mostAudited } from '../domain/audit-report.ts';
import type { Db } from './schema.ts';

/** Which part of what happened. */
export interface AuditPeriod {
  readonly project?: string | undefined;
  /** ISO 8601; from then on … */
  readonly since: string;
  /** … and before this. */
  readonly until: string;
}

/** Puts together what the tables say of a period; all of it at one moment, so that the parts fit. */
export async function readAuditReport(db: Db, { project, since, until }: AuditPeriod): Promise<AuditReport> {
  return await db
    .transaction()
    .setIsolationLevel('repeatable read')
    .setAccessMode('read only')
    .execute(async (tx) => {
      const cut: string[] = [];
      const whole = <T>(name: string, rows: readonly T[]): readonly T[] => {
        if (rows.length > mostAudited) cut.push(name);
        return rows.slice(0, mostAudited);
      };
      const mine = (column = 'project') => (project === undefined ? sql`true` : sql`${sql.ref(column)} = ${project}`);
      const within = (column: string) => sql`${sql.ref(column)} >= ${since} and ${sql.ref(column)} < ${until}`;
      const one = mostAudited + 1;
      const query = async <T>(text: ReturnType<typeof sql<T>>): Promise<readonly T[]> => (await text.execute(tx)).rows;

      const deployments = await query(sql<AuditedDeployment>`
        select project || '/' || environment || '/' || number as name, kind, version, requested_by, author, requested_at, outcome,
          coalesce((
            select jsonb_agg(jsonb_build_object('by', by, 'verdict', verdict, 'counted', counted, 'why', why,
              'comment', comment, 'proven', proven, 'at', to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')) order by id)
            from decisions c where c.project = d.project and c.environment = d.environment and c.number = d.number
          ), '[]') as decisions
        from deployments d where ${within('requested_at')} and ${mine()} order by requested_at, id limit ${one}`);
      const rollbacks = await query(sql<AuditReport['rollbacks'][number]>`
        select project || '/' || environment || '/' || number as name, at, trigger, to_version, serving_after_ms, total_ms,
          case when report->'data' is null then null else (report->'data'->>'action') || ': ' || (report->'data'->>'detail') end as data
        from rollbacks where ${within('at')} and ${mine()} order by at limit ${one}`);
      const operatorWords = await query(sql<AuditReport['operatorWords'][number]>`
        select project || '/' || environment as name, at, how, by, reason, live->>'version' as version
        from operator_words where ${within('at')} and ${mine()} order by at limit ${one}`);
      const incidents = await query(sql<AuditReport['incidents'][number]>`
        select project || '/' || environment || '/' || number as name, opened_at, trigger, post_mortem_due_at, closed_at
        from incidents where ${within('opened_at')} and ${mine()} order by opened_at limit ${one}`);
      const suppressions = await query(sql<AuditReport['suppressions'][number]>`
        select g.project, g.gate, each->>'rule' as rule, each->>'reason' as reason, each->>'expires' as until,
          count(distinct g.run)::int as runs, bool_or(coalesce((each->>'expired')::boolean, false)) as expired
        from gates g join runs r on r.project = g.project and r.number = g.run
          cross join lateral jsonb_array_elements(
            g.verdict_document->'suppressions' || coalesce(g.verdict_document->'putAside', '[]')) each
        where ${within('r.accepted_at')} and ${mine('g.project')} and coalesce(each->>'matched', each->>'found')::int > 0
        group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5 limit ${one}`);
      const exceptions = await query(sql<AuditReport['exceptions'][number]>`
        select i.project, line, count(distinct i.run)::int as runs
        from images i join runs r on r.project = i.project and r.number = i.run
          cross join lateral jsonb_array_elements_text(i.evidence->'scan'->'excepted') line
        where ${within('r.accepted_at')} and ${mine('i.project')} group by 1, 2 order by 1, 2 limit ${one}`);
      const gatesPassedOver = await query(sql<AuditReport['gatesPassedOver'][number]>`
        select g.project, g.gate, g.verdict, count(distinct g.run)::int as runs
        from gates g join runs r on r.project = g.project and r.number = g.run
        where ${within('r.accepted_at')} and ${mine('g.project')} and g.verdict <> 'passed' and not g.blocks
        group by 1, 2, 3 order by 1, 2, 3 limit ${one}`);
      const scans = await query(sql<AuditReport['scans'][number]>`
        select subject, at, verdict, summary from (
          select id, subject, at, verdict, summary,
            lag(verdict || summary) over (partition by subject order by id) is distinct from verdict || summary as changed
          from upkeep_rounds where kind = 'scan' and ${within('at')} and ${mine()}
        ) rounds where changed order by id limit ${one}`);
      const runs = await query(sql<AuditReport['runs'][number]>`
        select outcome, count(*)::int as count from runs
        where ${within('accepted_at')} and ${mine()} and outcome is not null group by 1 order by 1`);
      const documents = await query(sql<AuditReport['documents'][number]>`
        select project, revision::int as revision, by, created_at as at
        from project_revisions where ${within('created_at')} and ${mine()} order by created_at limit ${one}`);
      const actions = await query(sql<AuditReport['actions'][number]>`
        select actor, action, count(*)::int as count from audit
        where ${within('at')} and ${aboutProject(project)} group by 1, 2 order by 1, 2 limit ${one}`);
      return {
        ...(project === undefined ? {} : { project }),
        since,
        until,
        deployments: whole('deployments', deployments),
        rollbacks: whole('rollbacks', rollbacks),
        operatorWords: whole('words of operators', operatorWords),
        incidents: whole('incidents', incidents),
        suppressions: whole('suppressions', suppressions),
        exceptions: whole('exceptions', exceptions),
        gatesPassedOver: whole('gates', gatesPassedOver),
        scans: whole('scans', scans),
        runs,
        documents: whole('documents', documents),
        actions: whole('actions', actions),
        cut,
      };
    });
}

/** Objects are a project, or a path of which it is the first or second part: `hello`, `deployment/hello/production/3`. */
function aboutProject(project: string | undefined): ReturnType<typeof sql> {
  if (project === undefined) return sql`true`;
  return sql`(object = ${project} or split_part(object, '/', 1) = ${project} or split_part(object, '/', 2) = ${project})`;
}
