import { sql } from 'kysely';
import type { GatedReport, KeptPages, StageEvidence } from '../domain/evidence.ts';
import type { GateVerdict } from '../domain/gate-verdict.ts';
import { type Component, type CoverageFigures, type Finding, type TestFigures, ratioOf } from '../domain/report.ts';
import { type RunFigures, mostTrendRuns } from '../domain/run-trend.ts';
import type { RunRef } from '../domain/run.ts';
import type { Db, Row } from './schema.ts';
import { json } from './store.ts';

/** A report with the stage that wrote it. */
export type StoredReport = GatedReport & { readonly stage: string };
export type StoredGate = GateVerdict & { readonly stage: string };
export type StoredPages = KeptPages & { readonly stage: string; readonly position: number };

/** Rows in one statement: a statement has 65,535 parameters at most. */
const rowsAtOnce = 4_000;

/** What a stage showed, instead of what an earlier attempt at it did. Needs a transaction. */
export async function recordEvidence(tx: Db, run: RunRef, stage: string, evidence: StageEvidence): Promise<void> {
  const key = { project: run.project, run: run.number, stage };
  for (const table of ['reports', 'findings', 'gates', 'pages'] as const) {
    await tx
      .deleteFrom(table)
      .where('project', '=', key.project)
      .where('run', '=', key.run)
      .where('stage', '=', stage)
      .execute();
  }
  const { reports, gates, pages } = evidence;
  if (reports.length > 0) {
    await tx
      .insertInto('reports')
      .values(
        reports.map((report, position) => {
          const { kind, gate, path, state } = report;
          const content = report.state === 'read' ? { ...report, findings: [] } : report;
          return { ...key, position, kind, gate, path, state, content: json(content) };
        }),
      )
      .execute();
  }
  const findings = reports.flatMap((report, index) =>
    (report.state === 'read' ? report.findings : []).map((finding, position) => ({
      ...key,
      report: index,
      position,
      rule: finding.rule,
      severity: finding.severity,
      message: finding.message,
      file: finding.file ?? null,
      // Larger than the column: of a report that was made up.
      line: finding.line === undefined || finding.line > 2_147_483_647 ? null : finding.line,
      component: finding.component === undefined ? null : json(finding.component),
      aliases: finding.aliases === undefined ? null : json(finding.aliases),
      fingerprint: finding.fingerprint,
    })),
  );
  for (let start = 0; start < findings.length; start += rowsAtOnce) {
    await tx
      .insertInto('findings')
      .values(findings.slice(start, start + rowsAtOnce))
      .execute();
  }
  if (gates.length > 0) {
    await tx
      .insertInto('gates')
      .values(
        gates.map((verdict) => {
          const { gate, mode, blocks, reason } = verdict;
          return { ...key, gate, mode, verdict: verdict.verdict, blocks, reason, verdictDocument: json(verdict) };
        }),
      )
      .execute();
  }
  if (pages.length > 0) {
    await tx
      .insertInto('pages')
      .values(pages.map((one, position) => ({ ...key, position, ...one })))
      .execute();
  }
}

/** Reports of a run as they were read, with their findings. */
export async function readReports(db: Db, project: string, run: number): Promise<readonly StoredReport[]> {
  const [rows, findings] = await Promise.all([
    db
      .selectFrom('reports')
      .selectAll()
      .where('project', '=', project)
      .where('run', '=', run)
      .orderBy('stage')
      .orderBy('position')
      .execute(),
    db
      .selectFrom('findings')
      .selectAll()
      .where('project', '=', project)
      .where('run', '=', run)
      .orderBy('stage')
      .orderBy('report')
      .orderBy('position')
      .execute(),
  ]);
  const byReport = new Map<string, Row<'findings'>[]>();
  for (const finding of findings) {
    const key = `${finding.stage}/${finding.report}`;
    const alike = byReport.get(key);
    if (alike === undefined) byReport.set(key, [finding]);
    else alike.push(finding);
  }
  return rows.map(({ stage, position, content }) => {
    if (content.state === 'errored') return { ...content, stage };
    const own = byReport.get(`${stage}/${position}`) ?? [];
    return { ...content, findings: own.map(toFinding), stage };
  });
}

function toFinding({ rule, severity, message, file, line, component, aliases, fingerprint }: Row<'findings'>): Finding {
  return {
    rule,
    severity,
    message,
    ...(file === null ? {} : { file }),
    ...(line === null ? {} : { line }),
    ...(component === null ? {} : { component }),
    ...(aliases === null ? {} : { aliases }),
    fingerprint,
  };
}

/** Of a run: that some report of it was read. */
const hasReports = sql<boolean>`exists (select from reports where reports.project = runs.project and reports.run = runs.number)`;

/** Advisories about packages that are read of one run. Judgement: who has more has other worries. */
const mostAdvisories = 5_000;

/** Findings about packages of the newest finished run of a ref that has reports. */
export async function readPackageFindings(
  db: Db,
  project: string,
  ref: string,
): Promise<readonly { readonly rule: string; readonly component: Component }[]> {
  const newest = db
    .selectFrom('runs')
    .select('runs.number')
    .where('runs.project', '=', project)
    .where('runs.ref', '=', ref)
    .where('runs.outcome', 'is not', null)
    .where(hasReports)
    .orderBy('runs.number', 'desc')
    .limit(1);
  const rows = await db
    .selectFrom('findings')
    .select(['rule', 'component'])
    .where('project', '=', project)
    .where('run', '=', newest)
    .where('component', 'is not', null)
    .orderBy('rule')
    .limit(mostAdvisories)
    .execute();
  return rows.flatMap(({ rule, component }) => (component === null ? [] : [{ rule, component }]));
}

/** Verdicts of a run's gates, by stage. */
export async function readGates(db: Db, project: string, run: number): Promise<readonly StoredGate[]> {
  const rows = await db
    .selectFrom('gates')
    .select(['stage', 'verdictDocument'])
    .where('project', '=', project)
    .where('run', '=', run)
    .orderBy('stage')
    .orderBy('gate')
    .execute();
  return rows.map(({ stage, verdictDocument }) => ({ ...verdictDocument, stage }));
}

/** Pages that a run kept. */
export async function listPages(db: Db, project: string, run: number): Promise<readonly StoredPages[]> {
  const rows = await db
    .selectFrom('pages')
    .selectAll()
    .where('project', '=', project)
    .where('run', '=', run)
    .orderBy('stage')
    .orderBy('position')
    .execute();
  return rows.map(({ stage, position, path, prefix, entry, files, sizeBytes }) => ({
    stage,
    position,
    path,
    prefix,
    entry,
    files,
    sizeBytes,
  }));
}

/** The run that made the newest release before a run; undefined where there was none. */
export async function lastReleasedRun(db: Db, project: string, before: number): Promise<number | undefined> {
  const row = await db
    .selectFrom('releases')
    .select('build')
    .where('project', '=', project)
    .where('build', '<', before)
    .orderBy('build', 'desc')
    .limit(1)
    .executeTakeFirst();
  return row?.build;
}

/** The newest run of a ref before another that succeeded and showed something; undefined where there was none. */
export async function lastShownRun(db: Db, project: string, ref: string, before: number): Promise<number | undefined> {
  const row = await db
    .selectFrom('runs')
    .select('number')
    .where('project', '=', project)
    .where('ref', '=', ref)
    .where('number', '<', before)
    .where('outcome', '=', 'succeeded')
    .where(hasReports)
    .orderBy('number', 'desc')
    .limit(1)
    .executeTakeFirst();
  return row?.number;
}

/**
 * Figures of the newest finished runs of a ref before another that showed something, newest first: three statements, whatever their number.
 *
 * @param request.limit - runs, at most 50.
 */
export async function readRunFigures(
  db: Db,
  request: { readonly project: string; readonly ref: string; readonly before: number; readonly limit: number },
): Promise<readonly RunFigures[]> {
  const { project, ref, before, limit } = request;
  const runs = await db
    .selectFrom('runs')
    .select(['number', 'version', 'outcome', 'startedAt', 'settledAt'])
    .where('project', '=', project)
    .where('ref', '=', ref)
    .where('number', '<', before)
    .where('outcome', 'is not', null)
    .where(hasReports)
    .orderBy('number', 'desc')
    .limit(Math.min(limit, mostTrendRuns))
    .execute();
  if (runs.length === 0) return [];
  const numbers = runs.map(({ number }) => number);
  const [reports, findings] = await Promise.all([
    db
      .selectFrom('reports')
      .select([
        'run',
        // Without the failures of tests, which are long.
        sql<CoverageFigures | null>`content->'coverage'`.as('coverage'),
        sql<TestFigures | null>`(content->'tests') - 'failures'`.as('tests'),
      ])
      .where('project', '=', project)
      .where('run', 'in', numbers)
      .where('state', '=', 'read')
      .execute(),
    db
      .selectFrom('findings')
      .select(['run', sql<string>`count(*)`.as('count')])
      .where('project', '=', project)
      .where('run', 'in', numbers)
      .groupBy('run')
      .execute(),
  ]);
  return runs.map(({ number, version, outcome, startedAt, settledAt }) => {
    const own = reports.filter(({ run }) => run === number);
    const ratios = own.flatMap(({ coverage }) => (coverage === null ? [] : (ratioOf(coverage.lines) ?? [])));
    const tests = own.flatMap((report) => report.tests ?? []);
    const sum = (figure: 'total' | 'failed' | 'errored'): number => tests.reduce((all, one) => all + one[figure], 0);
    return {
      ...{ run: number, version, outcome, settledAt },
      coverage: ratios.length === 0 ? null : Math.min(...ratios),
      tests: tests.length === 0 ? null : sum('total'),
      testsFailed: tests.length === 0 ? null : sum('failed') + sum('errored'),
      findings: Number(findings.find(({ run }) => run === number)?.count ?? 0),
      durationMs: startedAt === null || settledAt === null ? null : Date.parse(settledAt) - Date.parse(startedAt),
    };
  });
}

/** Fingerprints of the findings of a run. */
export async function readFingerprints(db: Db, project: string, run: number): Promise<ReadonlySet<string>> {
  const rows = await db
    .selectFrom('findings')
    .select('fingerprint')
    .distinct()
    .where('project', '=', project)
    .where('run', '=', run)
    .execute();
  return new Set(rows.map(({ fingerprint }) => fingerprint));
}

/** Takes the pages of a run out of its report, once their bytes are gone. */
export async function forgetPages(db: Db, project: string, run: number): Promise<void> {
  await db.deleteFrom('pages').where('project', '=', project).where('run', '=', run).execute();
}
