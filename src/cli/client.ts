import type { ApprovalState } from '../domain/approval.ts';
import type { AuditReport } from '../domain/audit-report.ts';
import type { BuildReport } from '../domain/build-report.ts';
import type { DeploymentRef } from '../domain/deployment.ts';
import type { Outcome, RunOutcome } from '../domain/outcome.ts';
import type { UpkeepKind } from '../domain/upkeep.ts';
import type { DeploymentRecord, DeploymentSummary } from '../store/deployments.ts';
import type { Incident } from '../store/incidents.ts';
import type { LogStream } from '../store/logs.ts';
import type { NoticeRow } from '../store/notices.ts';
import type { Page } from '../store/page.ts';
import type { StoredRelease } from '../store/releases.ts';
import type { RunRecord, RunSummary } from '../store/runs.ts';
import type { Role } from '../store/tables/engine.ts';
import type { StoredRound } from '../store/upkeep.ts';
import type { EnvironmentView } from '../workflows/messages.ts';
import { type Http, createHttp } from './http.ts';
import type { Connection } from './settings.ts';

export interface RunName {
  readonly project: string;
  readonly number: number;
}

/** Signed paths of the API, for the one who asked for them. */
export interface PageLinks {
  /** ISO 8601. */
  readonly until: string;
  readonly report: string;
  readonly pages: readonly { readonly stage: string; readonly path: string; readonly link: string }[];
  readonly documentation: readonly { readonly stage: string; readonly name: string; readonly link: string }[];
}

/** What the store has lost of an environment. */
export interface Recovery {
  readonly applied: boolean;
  readonly lines: readonly string[];
  readonly problems: readonly string[];
}

export interface EnvironmentName {
  readonly project: string;
  readonly environment: string;
}

/** Of an audit report; ISO 8601. */
export interface AuditPeriod {
  readonly project?: string | undefined;
  readonly since: string;
  readonly until?: string | undefined;
}

export interface ListOptions {
  readonly project?: string | undefined;
  readonly limit?: number | undefined;
  readonly cursor?: string | undefined;
}

export interface DecisionBody {
  readonly plan: string;
  readonly comment?: string | undefined;
}

/** A deployment as the API shows it: what the store has, and what its workflow says of the approval. */
export interface ShownDeployment extends DeploymentRecord {
  /** Null when it was not asked for yet, or is over. */
  readonly approval: ApprovalState | null;
  readonly approvalUntil: string | null;
}

/** A token as lists show it; the secret itself is shown once, by the answer of {@link Client.createToken}. */
export interface TokenItem {
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  readonly groups: readonly string[];
  readonly createdAt: string;
  readonly createdBy: string;
  readonly expiresAt: string | null;
  readonly revokedAt: string | null;
}

/** Files that a stage has left. */
export interface ArtifactItem {
  readonly stage: string;
  readonly name: string;
  readonly sizeBytes: number;
  readonly createdAt: string;
  readonly expiresAt: string;
  /** Path of the first page of its documentation; null where it is just files. */
  readonly address: string | null;
  readonly files: readonly { readonly path: string; readonly sizeBytes: number; readonly sha256: string }[];
}

/** What retention would remove from a registry. */
export interface RegistryReview {
  readonly count: number;
  readonly sizeBytes: number;
  readonly images: readonly string[];
}

/** What stages keep from run to run. */
export interface CacheList {
  readonly sizeBytes: number;
  /** Null where none was ever looked for. */
  readonly hitRatio: number | null;
  readonly caches: readonly {
    readonly name: string;
    readonly scope: string;
    readonly key: string;
    readonly sizeBytes: number;
    readonly createdAt: string;
    readonly usedAt: string;
  }[];
  readonly uses: readonly {
    readonly cache: string;
    readonly uses: number;
    readonly exact: number;
    readonly fallback: number;
    readonly hitRatio: number | null;
  }[];
}

/** A log, with the lines in it that were looked for. */
export interface FoundLog extends LogStream {
  readonly matches?: readonly { readonly line: number; readonly at: string | null; readonly text: string }[];
}

/** Every request that commands make, by name. The addresses are known here and nowhere else. */
export interface Client {
  readonly connection: Connection;
  listRuns(
    options: ListOptions & {
      readonly ref?: string | undefined;
      readonly outcome?: RunOutcome | undefined;
      readonly open?: boolean | undefined;
    },
  ): Promise<Page<RunSummary>>;
  readRun(run: RunName): Promise<RunRecord>;
  /** Starts a run by hand; the same key again is the same run. */
  startRun(input: {
    readonly project: string;
    readonly ref: string;
    readonly commit?: string | undefined;
    readonly idempotencyKey?: string | undefined;
    readonly parameters?: Readonly<Record<string, string>> | undefined;
  }): Promise<{ readonly run: RunName }>;
  /** Does it again, from its start or from approval with what it had built. */
  rerun(run: RunName, from: 'start' | 'approval'): Promise<{ readonly run: RunName }>;
  /** The word for the commit of a fork. */
  allowRun(run: RunName, commit: string): Promise<unknown>;
  abortRun(run: RunName, reason: string | undefined): Promise<unknown>;
  listDeployments(
    options: ListOptions & {
      readonly environment?: string | undefined;
      readonly outcome?: Outcome | undefined;
      readonly open?: boolean | undefined;
    },
  ): Promise<Page<DeploymentSummary>>;
  readDeployment(ref: DeploymentRef): Promise<ShownDeployment>;
  approve(ref: DeploymentRef, body: DecisionBody): Promise<ApprovalState>;
  reject(ref: DeploymentRef, body: DecisionBody): Promise<ApprovalState>;
  abortDeployment(
    ref: DeploymentRef,
    body: { readonly reason?: string | undefined; readonly noRollback?: boolean | undefined },
  ): Promise<unknown>;
  listEnvironments(project: string | undefined): Promise<readonly EnvironmentView[]>;
  readEnvironment(name: EnvironmentName): Promise<EnvironmentView>;
  deploy(name: EnvironmentName, body: { readonly version: string }): Promise<DeploymentRef>;
  rollback(
    name: EnvironmentName,
    body: { readonly reason: string; readonly to?: string | undefined },
  ): Promise<DeploymentRef>;
  unlock(name: EnvironmentName, body: { readonly reason: string; readonly stateIs: string }): Promise<EnvironmentView>;
  reconcile(name: EnvironmentName, body: { readonly reason: string }): Promise<EnvironmentView>;
  retry(name: EnvironmentName, body: { readonly reason: string }): Promise<EnvironmentView>;
  freeze(
    name: EnvironmentName,
    body: { readonly reason: string; readonly until?: string | undefined },
  ): Promise<EnvironmentView>;
  thaw(name: EnvironmentName): Promise<EnvironmentView>;
  listReleases(options: ListOptions): Promise<Page<StoredRelease>>;
  listIncidents(project: string | undefined): Promise<readonly Incident[]>;
  closeIncident(ref: DeploymentRef, reason: string): Promise<{ readonly closed: boolean }>;
  listCaches(project: string): Promise<CacheList>;
  readAuditReport(period: AuditPeriod): Promise<AuditReport>;
  /** The same as Markdown. */
  readAuditReportText(period: AuditPeriod): Promise<string>;
  startScan(place: { readonly project: string; readonly environment?: string | undefined }): Promise<unknown>;
  readScan(place: {
    readonly project: string;
    readonly environment?: string | undefined;
  }): Promise<{ readonly running: boolean; readonly rounds: readonly StoredRound[] }>;
  /** The newest round of everything that upkeep looks after. */
  readUpkeep(filter: {
    readonly kind?: UpkeepKind | undefined;
    readonly project?: string | undefined;
  }): Promise<readonly StoredRound[]>;
  /** Messages of the last day that some channel has not taken, newest first. */
  listUndelivered(project?: string): Promise<readonly NoticeRow[]>;
  reviewRegistry(project: string): Promise<RegistryReview>;
  recover(
    name: EnvironmentName,
    body: { readonly apply: boolean; readonly reason?: string | undefined },
  ): Promise<Recovery>;
  listArtifacts(run: RunName): Promise<readonly ArtifactItem[]>;
  readArtifactFile(
    run: RunName,
    artifact: Pick<ArtifactItem, 'stage' | 'name'>,
    path: string,
    signal: AbortSignal,
  ): Promise<ReadableStream<Uint8Array>>;
  readReport(run: RunName): Promise<BuildReport>;
  /** Paths by which a browser opens its pages for an hour. */
  readPageLinks(run: RunName): Promise<PageLinks>;
  /** The same as Markdown. */
  readReportText(run: RunName): Promise<string>;
  listLogs(of: RunName | DeploymentRef): Promise<readonly LogStream[]>;
  /** Logs of a run or deployment that contain a text, with the lines that do. */
  searchLogs(of: RunName | DeploymentRef, text: string, step: string | undefined): Promise<readonly FoundLog[]>;
  readLog(log: string, options?: { readonly times?: boolean }): Promise<string>;
  /** The text as it comes, from its first line, until the log is closed. */
  followLog(log: string, signal: AbortSignal): AsyncGenerator<string>;
  putProject(
    project: string,
    text: string,
  ): Promise<{ readonly revision: number; readonly changed: boolean; readonly diff?: string }>;
  listProjects(): Promise<readonly { readonly name: string; readonly revision: number; readonly updatedAt: string }[]>;
  createToken(body: {
    readonly name: string;
    readonly role: Role;
    readonly groups: readonly string[];
    readonly expiresAt?: string | undefined;
  }): Promise<{ readonly id: string; readonly token: string }>;
  listTokens(): Promise<readonly TokenItem[]>;
  revokeToken(id: string): Promise<unknown>;
}

/** @param stop - ends whatever is being read. */
export function createClient(connection: Connection, stop?: AbortSignal): Client {
  const http: Http = createHttp(connection, { stop });
  const project = (name: string): string => `/v1/projects/${encodeURIComponent(name)}`;
  const run = ({ project: owner, number }: RunName): string => `${project(owner)}/runs/${number}`;
  const environment = ({ project: owner, environment: name }: EnvironmentName): string =>
    `${project(owner)}/environments/${encodeURIComponent(name)}`;
  const deployment = (ref: DeploymentRef): string => `${environment(ref)}/deployments/${ref.number}`;
  const logs = (of: RunName | DeploymentRef): string => `${'environment' in of ? deployment(of) : run(of)}/logs`;
  return {
    connection,
    listRuns: (options) => http.get('/v1/runs', { ...options }),
    readRun: (name) => http.get(run(name)),
    startRun: ({ project: owner, ...body }) => http.post(`${project(owner)}/runs`, body),
    rerun: (name, from) => http.post(`${run(name)}/rerun`, { from }),
    allowRun: (name, commit) => http.post(`${run(name)}/allow`, { commit }),
    abortRun: (name, reason) => http.post(`${run(name)}/abort`, { reason }),
    listDeployments: (options) => http.get('/v1/deployments', { ...options }),
    readDeployment: (ref) => http.get(deployment(ref)),
    approve: (ref, body) => http.post(`${deployment(ref)}/approve`, body),
    reject: (ref, body) => http.post(`${deployment(ref)}/reject`, body),
    abortDeployment: (ref, body) => http.post(`${deployment(ref)}/abort`, body),
    listEnvironments: (owner) => http.get('/v1/environments', { project: owner }),
    readEnvironment: (name) => http.get(environment(name)),
    deploy: (name, body) => http.post(`${environment(name)}/deployments`, body),
    rollback: (name, body) => http.post(`${environment(name)}/rollback`, body),
    unlock: (name, body) => http.post(`${environment(name)}/unlock`, body),
    reconcile: (name, body) => http.post(`${environment(name)}/reconcile`, body),
    retry: (name, body) => http.post(`${environment(name)}/retry`, body),
    freeze: (name, body) => http.post(`${environment(name)}/freeze`, body),
    thaw: (name) => http.post(`${environment(name)}/thaw`, {}),
    recover: (name, body) => http.post(`${environment(name)}/recover`, { ...body }),
    listReleases: (options) => http.get('/v1/releases', { ...options }),
    listIncidents: (owner) => http.get('/v1/incidents', { project: owner }),
    closeIncident: ({ project: owner, environment: name, number }, reason) =>
      http.post(`/v1/incidents/${owner}/${name}/${number}/close`, { reason }),
    readReport: (name) => http.get(`${run(name)}/report`),
    readPageLinks: (name) => http.get(`${run(name)}/links`),
    readReportText: (name) => http.getText(`${run(name)}/report.md`),
    listLogs: (of) => http.get(logs(of)),
    reviewRegistry: (owner) => http.post(`${project(owner)}/registry/review`, {}),
    listCaches: (owner) => http.get(`${project(owner)}/caches`),
    readAuditReport: (period) => http.get('/v1/audit/report', { ...period }),
    readAuditReportText: (period) => http.getText('/v1/audit/report.md', { ...period }),
    startScan: ({ project: owner, environment: name }) => http.post(`${project(owner)}/scan`, { environment: name }),
    readScan: ({ project: owner, environment: name }) => http.get(`${project(owner)}/scan`, { environment: name }),
    listUndelivered: (owner) => http.get('/v1/notices', { project: owner, undelivered: true }),
    readUpkeep: (filter) => http.get('/v1/upkeep', { ...filter }),
    listArtifacts: (name) => http.get(`${run(name)}/artifacts`),
    readArtifactFile: (name, artifact, path, signal) => {
      const file = path.split('/').map(encodeURIComponent).join('/');
      return http.getBody(`${run(name)}/artifacts/${artifact.stage}/${artifact.name}/${file}`, signal);
    },
    searchLogs: (of, text, step) => http.get(logs(of), { q: text, step }),
    readLog: (log, { times } = {}) => http.getText(`/v1/logs/${log}`, times === true ? { times: true } : {}),
    async *followLog(log, signal) {
      for await (const { data } of http.stream(`/v1/logs/${log}`, signal)) yield JSON.parse(data) as string;
    },
    putProject: (owner, text) => http.post(project(owner), { text }),
    listProjects: () => http.get('/v1/projects'),
    createToken: (body) => http.post('/v1/tokens', body),
    listTokens: () => http.get('/v1/tokens'),
    revokeToken: (id) => http.post(`/v1/tokens/${encodeURIComponent(id)}/revoke`, {}),
  };
}
