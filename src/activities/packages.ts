import { activityInfo } from '@temporalio/activity';
import { isProposal } from '../definition/pipeline.ts';
import type { PackageSpec } from '../definition/specs/pipeline.ts';
import { failures } from '../domain/failure-kinds.ts';
import { ProviderError, describeFailure, toFailure } from '../domain/failures.ts';
import { type PackageKind, type PublishedPackage, packageProblem, publishTimeoutMs } from '../domain/packages.ts';
import { type RunPlan, type RunRef, type StageReport, type StepReport, attemptOf } from '../domain/run.ts';
import { worst } from '../domain/verdict.ts';
import { withHeartbeat } from '../effects/heartbeat.ts';
import { openInside } from '../effects/inside.ts';
import { createRedactor } from '../effects/redact.ts';
import type { IndexLogin, PackageUploadKind, ReadPackage } from '../providers/package-uploads/port.ts';
import { publishPackage } from '../providers/package-uploads/publish.ts';
import { findFiles } from './artifacts.ts';
import type { PackageActivities } from './contracts.ts';
import type { LogWriter, Logs } from './logs.ts';
import { type PublishAccount, createAccount } from './publish-account.ts';
import type { Pipelines, RunPipeline } from './pipelines.ts';
import type { ReadSecret } from './secrets.ts';
import type { StageFacts } from './stage.ts';
import { foldersOf } from './workspaces.ts';

export interface PackageDependencies {
  readonly uploads: Readonly<Record<PackageKind, PackageUploadKind>>;
  readonly pipelines: Pipelines;
  readonly readSecret: ReadSecret;
  readonly logs: Logs;
  readonly facts: StageFacts;
  /** Told of each file as soon as its index holds it, whatever becomes of the others. */
  readonly record: (run: RunRef, published: PublishedPackage) => void;
}

const stage = 'publish';
/** Shown after the build and the scan of the images, and before their push, which has this place too and begins later. */
const afterBuilding = 2;
const heartbeatMs = 300;
/** Longer than one upload may take, ms. */
const stallMs = 360_000;
/** Of one package. Judgement: a wheel for each Python and platform are some thirty. */
const mostFiles = 100;

interface Work {
  readonly deps: PackageDependencies;
  readonly known: RunPipeline;
  readonly run: RunRef;
  readonly attempt: number;
  readonly source: string;
  readonly signal: AbortSignal;
  readonly account: PublishAccount;
  readonly moved: () => void;
}

/** A file that may be published, as it was when it was looked through. Its content is read again: one at a time is enough in memory. */
type Looked = Pick<ReadPackage, 'file' | 'name' | 'version' | 'sha256'> & { readonly path: string };

/** Publishes packages of runs from the checkout of this worker. */
export function createPackageActivities(deps: PackageDependencies): PackageActivities {
  return {
    async publishPackages({ run, plan }) {
      const late = AbortSignal.timeout(publishTimeoutMs);
      const info = activityInfo();
      const account = createAccount(info.heartbeatDetails);
      const attempt = attemptOf(plan, info.attempt);
      try {
        return await withHeartbeat(
          heartbeatMs,
          async (cancelled, progress) => {
            const known = await deps.pipelines.of(plan);
            const { source } = foldersOf(plan.workspace);
            const signal = AbortSignal.any([cancelled, late]);
            const work = { deps, known, run, attempt, source, signal, account, moved: () => progress() };
            return await publishAll(work, plan);
          },
          // A later attempt knows by it what an earlier one has published, also where the index does not answer any more.
          () => account.published(),
          stallMs,
        );
      } catch (error) {
        if (!late.aborted || error !== late.reason) throw toFailure(account.tell(error));
        const minutes = publishTimeoutMs / 60_000;
        const words = `the packages took longer than the ${minutes} minutes of publishing`;
        throw toFailure(account.tell(new ProviderError('TimedOut', words, { nonRetryable: true })));
      }
    },
  };
}

/** Everything is looked through before the first file leaves, for none can be taken back. */
async function publishAll(work: Work, plan: RunPlan): Promise<readonly PublishedPackage[]> {
  const { deps, known, run } = work;
  // Said by the plan already; a stranger's package under the name of the project would be the worst of all mistakes.
  if (isProposal(known.input.event)) throw new ProviderError('NotAllowed', 'A pull request never publishes.');
  const packages = known.pipeline.packages.filter(({ name }) => plan.publish?.includes(name) === true);
  const startedAt = new Date();
  const position = known.pipeline.stages.length + afterBuilding;
  deps.facts.stageStarted({ run, stage, position, at: startedAt.toISOString(), phase: 'publishing' });
  const steps = packages.map((spec, index) => new Step(work, spec, index));
  const published: PublishedPackage[] = [];
  try {
    const looked: (readonly Looked[])[] = [];
    for (const step of steps) {
      const files = await step.do((log) => lookThrough(work, step.spec, log));
      looked.push(files);
      work.account.expect(files.map(({ file }) => ({ package: step.spec.name, file })));
    }
    for (const [index, step] of steps.entries()) {
      published.push(...(await step.do((log) => publishFiles(work, step.spec, looked[index] ?? [], log))));
      step.settle('passed');
    }
    return published;
  } finally {
    const reports = await Promise.all(steps.map((step) => step.close()));
    const report: StageReport = {
      name: stage,
      verdict: worst(reports.map(({ verdict }) => verdict)),
      steps: reports,
      startedAt: startedAt.toISOString(),
      durationMs: Date.now() - startedAt.getTime(),
    };
    deps.facts.stageSettled({ run, position, report });
  }
}

/** One package in the record of the run: a step with a log of its own. */
class Step {
  readonly spec: PackageSpec;
  readonly #work: Work;
  readonly #index: number;
  readonly #log: LogWriter;
  readonly #startedAt = new Date();
  #report: StepReport | undefined;

  constructor(work: Work, spec: PackageSpec, index: number) {
    const { deps, run, attempt } = work;
    this.spec = spec;
    this.#work = work;
    this.#index = index;
    this.#log = deps.logs.open({ run, stage, step: spec.name, attempt });
    deps.facts.stepStarted({ run, stage, step: spec.name, position: index, at: this.#startedAt.toISOString() });
  }

  async do<T>(act: (log: LogWriter) => Promise<T>): Promise<T> {
    try {
      return await act(this.#log);
    } catch (error) {
      if (!this.#work.signal.aborted) {
        const { type, message } = describeFailure(error);
        this.#log.say(`${message}\n${failures[type].sentence}`);
        this.settle(type === 'PackageRefused' || type === 'PackageTaken' ? 'failed' : 'errored', message);
      }
      throw error;
    }
  }

  settle(verdict: StepReport['verdict'], detail?: string): void {
    const { deps, run } = this.#work;
    this.#report = {
      name: this.spec.name,
      verdict,
      startedAt: this.#startedAt.toISOString(),
      durationMs: Date.now() - this.#startedAt.getTime(),
      ...(detail === undefined ? {} : { detail }),
    };
    deps.facts.stepSettled({ run, stage, step: this.spec.name, position: this.#index, report: this.#report });
  }

  /** What had not come to its turn is told of as that. */
  async close(): Promise<StepReport> {
    if (this.#report === undefined) this.settle('inconclusive', 'It was not published: the run had ended before.');
    await this.#log.close();
    if (this.#report === undefined) throw new TypeError('a step without a report');
    return this.#report;
  }
}

/**
 * Reads every file of a package and whether the project lets it be published.
 *
 * @throws ProviderError `PackageRefused` (not retried)
 */
async function lookThrough(work: Work, spec: PackageSpec, log: LogWriter): Promise<readonly Looked[]> {
  const { known, run, source, signal, moved } = work;
  const { ref } = known.input.event;
  const paths = await findFiles(source, spec.files);
  if (paths.length === 0) throw refusal(spec, `no file matches ${spec.files.join(' or ')}`);
  if (paths.length > mostFiles)
    throw refusal(spec, `${paths.length} files match, more than the ${mostFiles} that one may have`);
  const looked: Looked[] = [];
  const files = new Set<string>();
  for (const path of paths) {
    signal.throwIfAborted();
    const read = await readFile(work, spec, path);
    const problem = packageProblem({ ...read, kind: spec.index.kind }, spec.index.allow, { ref, number: run.number });
    if (problem !== undefined) throw refusal(spec, `${path} ${problem}`);
    if (files.has(read.file)) throw refusal(spec, `there are two files ${read.file}`);
    files.add(read.file);
    looked.push({ path, file: read.file, name: read.name, version: read.version, sha256: read.sha256 });
    log.say(`${path}: ${read.name} ${read.version}, ${read.content.length} bytes, sha256:${read.sha256}`);
    moved();
  }
  return looked;
}

async function readFile({ deps, source, signal }: Work, spec: PackageSpec, path: string): Promise<ReadPackage> {
  const { kind, largestBytes } = spec.index;
  const file = await openInside(source, path);
  if (file === undefined) throw refusal(spec, `${path} is not there any more`);
  let content: Buffer;
  try {
    const { size } = await file.stat();
    if (size > largestBytes) {
      throw refusal(spec, `${path} has ${size} bytes, more than the ${largestBytes} that the project allows`);
    }
    // No more of it than was counted, should somebody still write to it.
    const parts: Buffer[] = [];
    if (size > 0) {
      for await (const part of file.createReadStream({ autoClose: false, end: size - 1, signal }))
        parts.push(part as Buffer);
    }
    content = Buffer.concat(parts);
  } finally {
    await file.close();
  }
  return await deps.uploads[kind].read(path.slice(path.lastIndexOf('/') + 1), content, signal);
}

async function publishFiles(
  work: Work,
  spec: PackageSpec,
  looked: readonly Looked[],
  log: LogWriter,
): Promise<readonly PublishedPackage[]> {
  const { deps, run, signal, moved } = work;
  const { index } = spec;
  const login = await loginOf(deps, spec);
  const to = await deps.uploads[index.kind].open({
    ...{ name: index.name, url: index.url, access: index.access },
    ...(index.simple === undefined ? {} : { simple: index.simple }),
    ...(login === undefined ? {} : { login }),
  });
  const redactor = createRedactor(login === undefined ? [] : [login.kind === 'token' ? login.token : login.password]);
  const published: PublishedPackage[] = [];
  for (const { path, sha256 } of looked) {
    signal.throwIfAborted();
    const read = await readFile(work, spec, path);
    if (read.sha256 !== sha256) throw refusal(spec, `${path} has changed since it was looked through`);
    const { alreadyThere } = await publishPackage(to, read, { index: index.name, signal, moved });
    const one: PublishedPackage = {
      package: spec.name,
      ...{ file: read.file, kind: index.kind, index: index.name, name: read.name, version: read.version, sha256 },
      sizeBytes: read.content.length,
      address: redactor.text(to.addressOf(read)),
      alreadyThere,
      at: new Date().toISOString(),
    };
    published.push(one);
    work.account.add(one);
    deps.record(run, one);
    log.say(`${read.file}: ${index.name} ${alreadyThere ? 'had it already' : 'holds it'}, ${read.digest}`);
  }
  return published;
}

async function loginOf({ readSecret }: PackageDependencies, { index }: PackageSpec): Promise<IndexLogin | undefined> {
  const { token, credentials } = index;
  if (token !== undefined) return { kind: 'token', token: await readSecret(token) };
  if (credentials === undefined) return undefined;
  return { kind: 'password', username: credentials.username, password: await readSecret(credentials.password) };
}

function refusal(spec: PackageSpec, why: string): ProviderError {
  return new ProviderError('PackageRefused', `${spec.name}: ${why}`, { details: { package: spec.name } });
}
