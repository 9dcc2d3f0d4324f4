import { readFile, rm, writeFile } from 'node:fs/promises';
import { hostname, userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ProviderError } from '../../domain/failures.ts';
import { runProcess, runTool, type ToolResult } from '../../effects/process.ts';
import { createRedactor, type Redactor } from '../../effects/redact.ts';
import { withScratch } from '../../effects/scratch-folder.ts';
import type { ApplyRequest, BackendSpec, Infrastructure, InfrastructureRequest, SavedPlan } from './port.ts';
import { type HeldLock, lockedError, readComplaint, tellComplaint } from './terraform-complaints.ts';
import { readShown } from './terraform-show.ts';

export interface TerraformOptions {
  /** OpenTofu is asked by the same words. */
  readonly name: 'terraform' | 'opentofu';
  /** Path of the program, asked at each use. */
  readonly program: () => Promise<string>;
  readonly backend: BackendSpec;
}

/** It ends what it is at and writes its state down when it is told to stop: as long as one call of a cloud may take. Judgement. */
const stopGraceMs = 60_000;
/** A plan of a large installation in JSON. Judgement. */
const maxOutputBytes = 64 * 1024 * 1024;
/** Saved plans beyond this are refused: a release keeps one for ever. Judgement. */
const maxPlanBytes = 64 * 1024 * 1024;
/** How often a state that could not be saved is tried again, or kept, and the first pause between; doubled each time. Judgement. */
const pushTries = 5;
const pushPauseMs = 1_000;
/** One such try, beside the wait for the lock: what is left of the time of the apply may be nothing. Judgement. */
const pushMs = 60_000;
/** Clocks of two machines differ by no more than this. Judgement. */
const skewMs = 2_000;

/** The tool finds it in its own folder; a repository's own of a later name is noticed by what `init` has made of it. */
const overrideFile = 'slipway_override.tf.json';
const erroredFile = 'errored.tfstate';

/**
 * Terraform 1.5 or later, or OpenTofu.
 *
 * The backend is the project's word: it is written over whatever the repository says, and read back from what `init` has made of it, so that
 * no file of a repository leads the state elsewhere. Variables go by a file that only this user can read, for arguments are seen by everybody
 * on a machine and a `terraform.tfvars` of the repository goes over the environment.
 */
export function createTerraform({ name, program, backend }: TerraformOptions): Infrastructure {
  const command = name === 'terraform' ? 'terraform' : 'tofu';

  interface Session {
    readonly request: InfrastructureRequest;
    readonly scratch: string;
    readonly redactor: Redactor;
    readonly deadline: number;
    /** A short call whose output is an answer; whatever its exit code. */
    ask(...args: readonly string[]): Promise<ToolResult>;
    /** The same with a time of its own. */
    askWithin(timeoutMs: number, ...args: readonly string[]): Promise<ToolResult>;
    /** The same where anything but 0 is a failure. */
    must(what: string, ...args: readonly string[]): Promise<string>;
    /** A call that tells what it does while it does it. */
    tell(
      ...args: readonly string[]
    ): Promise<{ readonly exitCode: number; readonly said: string; readonly timedOut: boolean }>;
    failed(what: string, said: string, timedOut: boolean): ProviderError;
  }

  async function open<T>(request: InfrastructureRequest, work: (session: Session) => Promise<T>): Promise<T> {
    const path = await program();
    const redactor = createRedactor([...Object.values(request.secrets), ...Object.values(request.secretVariables)]);
    return await withScratch(name, async (scratch) => {
      const deadline = Date.now() + request.timeoutMs;
      const launch = {
        cwd: request.folder,
        env: {
          ...request.env,
          ...request.secrets,
          TF_IN_AUTOMATION: '1',
          TF_INPUT: '0',
          CHECKPOINT_DISABLE: '1',
          // A repository may have a folder of this name with plugins in it.
          TF_DATA_DIR: join(scratch, 'data'),
        },
        ...(request.signal === undefined ? {} : { signal: request.signal }),
        graceMs: stopGraceMs,
        abortGraceMs: stopGraceMs,
      };
      const left = (): number => Math.max(1, deadline - Date.now());
      const session: Session = {
        request,
        scratch,
        redactor,
        deadline,
        ask: (...args) => session.askWithin(left(), ...args),
        askWithin: (timeoutMs, ...args) => runTool({ ...launch, command: [path, ...args], timeoutMs, maxOutputBytes }),
        async must(what, ...args) {
          const { exitCode, stdout, stderr, timedOut, truncated } = await session.ask(...args);
          if (truncated) throw session.failed(what, 'it said more than can be read', false);
          if (exitCode !== 0) throw session.failed(what, stderr, timedOut);
          return stdout;
        },
        async tell(...args) {
          const { exitCode, tail, timedOut } = await runProcess({
            ...launch,
            command: [path, ...args],
            timeoutMs: left(),
            // It is silent for as long as a cloud takes; its own limit ends it.
            stallAfterMs: Infinity,
            maxTailBytes: 65_536,
            redactor,
            ...(request.onLine === undefined ? {} : { onLine: request.onLine }),
          });
          return { exitCode, said: tail, timedOut };
        },
        failed(what, said, timedOut) {
          const clean = redactor.text(said);
          if (timedOut)
            return new ProviderError('TimedOut', `${name} could not ${what} within ${seconds(request.timeoutMs)} s`);
          const { type, lock } = readComplaint(clean);
          if (lock !== undefined) return lockedError(command, lock, request.lockTimeoutMs, what);
          return new ProviderError(type, `${name} could not ${what}: ${tellComplaint(clean)}`);
        },
      };
      await initialise(session);
      return await work(session);
    });
  }

  async function initialise(session: Session): Promise<void> {
    const { request, scratch } = session;
    const { kind, config } = backend;
    await writeFile(
      join(request.folder, overrideFile),
      JSON.stringify({ terraform: { backend: { [kind]: config } } }),
      { mode: 0o600 },
    );
    await session.must('initialise', 'init', '-input=false', '-no-color', '-reconfigure');
    const made = JSON.parse(await readFile(join(scratch, 'data', 'terraform.tfstate'), 'utf8').catch(() => '{}')) as {
      readonly backend?: { readonly type?: string; readonly config?: Readonly<Record<string, unknown>> };
    };
    const used = made.backend;
    const differs = Object.keys(config).filter((key) => !alike(config[key], used?.config?.[key]));
    if (used?.type === kind && differs.length === 0) return;
    throw new ProviderError(
      'InfrastructureFailed',
      `The state would go to ${used?.type ?? 'a file of the checkout'}${differs.length === 0 ? '' : ` with another ${differs.join(', ')}`} and not where the project says (${kind}): a file of the repository goes over the backend. Remove its override files.`,
    );
  }

  /** Lineage and serial of the state; nothing else of it is kept in memory for longer than this. */
  async function stateOf(session: Session): Promise<string> {
    const text = await session.must('read its state', 'state', 'pull');
    if (text.trim() === '') return 'none';
    const { lineage, serial } = JSON.parse(text) as { readonly lineage?: string; readonly serial?: number };
    return `${lineage ?? ''}#${String(serial ?? 0)}`;
  }

  async function versionOf(session: Session): Promise<string> {
    const { terraform_version: version = 'of an unknown version' } = JSON.parse(
      await session.must('tell its version', 'version', '-json'),
    ) as { readonly terraform_version?: string };
    return `${name} ${version}`;
  }

  const lockTimeout = ({ lockTimeoutMs }: InfrastructureRequest): string => `-lock-timeout=${seconds(lockTimeoutMs)}s`;

  async function plan(request: InfrastructureRequest): Promise<SavedPlan> {
    return await open(request, async (session) => {
      const tool = await versionOf(session);
      await session.must('validate', 'validate', '-no-color');
      // Before the plan: what changes between the two is taken for stale later, never the other way round.
      const state = await stateOf(session);
      const variables = join(session.scratch, 'slipway.tfvars.json');
      const saved = join(session.scratch, 'saved-plan');
      await writeFile(variables, JSON.stringify({ ...request.variables, ...request.secretVariables }), { mode: 0o600 });
      const { exitCode, said, timedOut } = await session.tell(
        ...['plan', '-input=false', '-no-color', '-detailed-exitcode', lockTimeout(request)],
        ...[`-var-file=${variables}`, `-out=${saved}`],
      );
      // 0: nothing to change; 2: something (https://developer.hashicorp.com/terraform/cli/commands/plan).
      if (exitCode !== 0 && exitCode !== 2) throw session.failed('plan', said, timedOut);
      const content = await readFile(saved);
      if (content.length > maxPlanBytes) {
        throw new ProviderError(
          'TooLarge',
          `The saved plan has ${content.length} bytes; the limit is ${maxPlanBytes}.`,
        );
      }
      const summary = readShown(await session.must('show its plan', 'show', '-json', '-no-color', saved));
      return { content, summary, state, tool };
    });
  }

  /** Once more without the lock that a dead attempt of the same work has left. */
  async function pastOwnLock(session: Session, request: ApplyRequest, run: () => Promise<void>): Promise<void> {
    const begun = new Date();
    try {
      await run();
    } catch (error) {
      const lock = ownLock(error, request, begun);
      if (lock === undefined) throw error;
      request.onLine?.(`opens the lock ${lock}, which an attempt that is dead has left`);
      await session.must('open the lock it had left', 'force-unlock', '-force', lock);
      await run();
    }
  }

  async function apply(request: ApplyRequest): Promise<{ readonly state: string }> {
    return await open(request, async (session) => {
      const state = await stateOf(session);
      // The tool compares too, but not where the plan was made of no state at all by some versions.
      if (state !== request.plan.state) throw staleError(name);
      const saved = join(session.scratch, 'saved-plan');
      const errored = join(request.folder, erroredFile);
      await writeFile(saved, request.plan.content, { mode: 0o600 });
      // A repository's file of this name would be taken for ours.
      await rm(errored, { recursive: true, force: true });
      const run = async (): Promise<void> => {
        try {
          const { exitCode, said, timedOut } = await session.tell(
            ...['apply', '-input=false', '-no-color', lockTimeout(request), saved],
          );
          if (exitCode !== 0) throw session.failed('apply the saved plan', said, timedOut);
        } catch (error) {
          // Whatever ended it, an abort among them: the file goes with the checkout.
          await bringState(session, request, errored);
          throw error;
        }
      };
      await pastOwnLock(session, request, run);
      return { state: await stateOf(session) };
    });
  }

  /** A state that could not be saved is the only trace of what was made: it is tried again, and kept where that does not help. */
  async function bringState(session: Session, request: ApplyRequest, file: string): Promise<void> {
    const content = await readFile(file).catch(() => undefined);
    if (content === undefined || (await isPushed(session, request, file))) return;
    const where = await keepState(request, content);
    throw new ProviderError(
      'InfrastructureInterrupted',
      `${name} changed the infrastructure but could not save its state. The state is kept as ${where}: bring it back with \`${command} state push\` before anything else is planned.`,
      { details: { state: where } },
    );
  }

  /** Whoever aborts may end the worker next, so from then on nothing is tried that waits for a backend. */
  async function isPushed(session: Session, request: ApplyRequest, file: string): Promise<boolean> {
    const { signal, lockTimeoutMs } = request;
    try {
      for (let round = 0; round < pushTries && signal?.aborted !== true; round += 1) {
        const push = ['state', 'push', lockTimeout(request), file];
        const { exitCode } = await session.askWithin(lockTimeoutMs + pushMs, ...push);
        if (exitCode === 0) return true;
        await delay(pushPauseMs * 2 ** round, undefined, signal && { signal });
      }
    } catch {
      // Aborted, or the target is no longer ours: the state is kept all the same.
    }
    return false;
  }

  /** No abort ends it: with the last try the state is lost. */
  async function keepState({ keepState: keep }: ApplyRequest, content: Buffer): Promise<string> {
    for (let round = 1; round < pushTries; round += 1) {
      try {
        return await keep(content);
      } catch {
        await delay(pushPauseMs * 2 ** (round - 1));
      }
    }
    return await keep(content);
  }

  return {
    lockHolder: () => `${userInfo().username}@${hostname()}`,
    plan,
    readState: (request) => open(request, stateOf),
    apply,
  };
}

/** The id of a lock that an attempt of the same call has left; undefined for everybody else's. */
function ownLock(error: unknown, { left }: ApplyRequest, begun: Date): string | undefined {
  if (left === undefined || !(error instanceof ProviderError) || error.type !== 'InfrastructureLocked')
    return undefined;
  const { lock, who, operation, created } = error.details as {
    readonly lock: HeldLock['id'];
    readonly who?: string;
    readonly operation?: string;
    readonly created?: string;
  };
  const since = created === undefined ? undefined : Date.parse(created);
  const ours =
    who !== undefined &&
    left.who.includes(who) &&
    operation === 'OperationTypeApply' &&
    since !== undefined &&
    since >= left.since.getTime() - skewMs &&
    since < begun.getTime();
  return ours ? lock : undefined;
}

export function staleError(name: string): ProviderError {
  return new ProviderError(
    'InfrastructureStale',
    `${name} has applied nothing: the state changed after the plan was made, so the saved plan is stale.`,
  );
}

/** Backends write numbers and truth values as they like. */
function alike(wanted: unknown, used: unknown): boolean {
  if (typeof wanted === 'object' && wanted !== null) {
    const other = (typeof used === 'object' && used !== null ? used : {}) as Readonly<Record<string, unknown>>;
    return Object.entries(wanted).every(([key, value]) => alike(value, other[key]));
  }
  return String(wanted) === String(used);
}

function seconds(ms: number): string {
  return String(Math.max(0, Math.round(ms / 1_000)));
}
