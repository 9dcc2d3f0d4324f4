import { Context } from '@temporalio/activity';
import type { SecretRef, SecretRefs } from '../definition/specs/secret.ts';
import type { DeploymentRef } from '../domain/deployment.ts';
import { describeFailure } from '../domain/failures.ts';
import { type Redactor, createRedactor } from '../effects/redact.ts';
import { type Hearsay, createHearsay } from './hearsay.ts';
import type { LogWriter, Logs } from './logs.ts';
import type { Place } from './places.ts';

/** The stages of a deployment that are written down as they go, by the names that people ask for them with. */
export const deploymentStages = ['backup', 'migrate', 'start', 'probe', 'switch', 'watch', 'stop', 'restore'] as const;
export type DeploymentStage = (typeof deploymentStages)[number];

/** What one activity writes of what it does. Losing it costs nothing but itself. */
export interface DeploymentLog {
  say(line: string): void;
  /** What a program, a server or a container said; nothing of it is kept where its secrets are not known. */
  lines(lines: readonly string[]): void;
  /** The same for what leaves the activity: see {@link Hearsay}. What is thrown out of the work is cleaned by itself. */
  readonly heard: Hearsay;
}

/** Of which deployment, and what of it. */
export interface LogSubject extends DeploymentRef {
  readonly stage: DeploymentStage;
  /** One word: a slot, a database. */
  readonly what: string;
}

export interface DeploymentLogs {
  /**
   * Runs work and writes down what is said of it, and what it throws. Secrets of the environment, and the address of its database, are
   * hidden.
   *
   * @throws what `work` throws, as {@link Hearsay.error} makes it, and nothing else.
   */
  during<T>(subject: LogSubject, place: Place, work: (log: DeploymentLog) => Promise<T>): Promise<T>;
  /** The same for traffic, which nothing may delay: no secret is read, for a router knows none. */
  beside<T>(subject: LogSubject, work: (log: DeploymentLog) => Promise<T>): Promise<T>;
  /** Runs work of which nothing is written down; what it throws is the same as of `during`. */
  unwritten<T>(place: Place, work: () => Promise<T>): Promise<T>;
}

export interface DeploymentLogDependencies {
  readonly logs: Logs;
  readonly readSecret: (ref: SecretRef) => Promise<string>;
  readonly readSecrets: (refs: SecretRefs) => Promise<Readonly<Record<string, string>>>;
}

/** Longest that what is to be done waits for the secrets that its log hides, ms; then what programs say is not kept. Judgement. */
const secretsMs = 2_000;

/** Logs of what is done for deployments; one a worker. */
export function createDeploymentLogs(deps: DeploymentLogDependencies): DeploymentLogs {
  async function secretsOf({ spec }: Place): Promise<readonly string[]> {
    const { database } = spec;
    const [values, url] = await Promise.all([
      deps.readSecrets(spec.secrets),
      database === undefined ? undefined : deps.readSecret(database.url),
    ]);
    return [...Object.values(values), ...(url === undefined ? [] : [url])];
  }

  async function redactorOf(place: Place): Promise<Redactor | undefined> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), secretsMs);
    });
    try {
      return await Promise.race([secretsOf(place).then(createRedactor), late]);
    } catch {
      return undefined;
    } finally {
      clearTimeout(timer);
    }
  }

  return {
    async during(subject, place, work) {
      const redactor = await redactorOf(place);
      const writer = open(deps.logs, subject, redactor ?? createRedactor([]));
      if (redactor === undefined) {
        writer.say('The secrets of this environment could not be read, so what programs say is not kept.');
      }
      // Where they could not be read before, perhaps they can now, when there is something to be said.
      const again = async (): Promise<Hearsay> => createHearsay(redactor ?? (await redactorOf(place)));
      return await written(writer, createHearsay(redactor), work, again);
    },

    async beside(subject, work) {
      const hearsay = createHearsay(createRedactor([]));
      const writer = open(deps.logs, subject, createRedactor([]));
      return await written(writer, hearsay, work, () => Promise.resolve(hearsay));
    },

    async unwritten(place, work) {
      try {
        return await work();
      } catch (error) {
        throw createHearsay(await redactorOf(place)).error(error);
      }
    },
  };
}

async function written<T>(
  writer: LogWriter,
  heard: Hearsay,
  work: (log: DeploymentLog) => Promise<T>,
  again: () => Promise<Hearsay>,
): Promise<T> {
  let open = true;
  // What goes on for a moment after the work, as following a container does, must not begin a log anew that is closed.
  const log: DeploymentLog = {
    say(line) {
      if (open) writer.say(line);
    },
    lines(lines) {
      if (open && heard.known) for (const line of lines) writer.say(heard.text(line));
    },
    heard,
  };
  try {
    return await work(log);
  } catch (error) {
    const clean = (await again()).error(error);
    for (const line of failureLines(clean)) writer.say(line);
    throw clean;
  } finally {
    open = false;
    // Nobody waits for the last segment of a log to be stored.
    void writer.close();
  }
}

/**
 * Opens the log of the running activity. An activity of a workflow has its number there, so that starting a release twice, forward and on
 * the way back, gives two logs; a roll-out that began anew after a changed plan has its own mark.
 */
function open(logs: Logs, { project, environment, number, stage, what }: LogSubject, redactor: Redactor): LogWriter {
  const { activityId, attempt, workflowExecution } = Context.current().info;
  const again = /\.(\d+)$/.exec(workflowExecution?.workflowId ?? '')?.[1];
  const step = `${what}-${again === undefined ? '' : `${again}.`}${activityId}`;
  return logs.open({ deployment: { project, environment, number }, stage, step, attempt }, redactor);
}

/** What a failure says, a line each: its message and its details. */
function failureLines(error: unknown): readonly string[] {
  const failure = describeFailure(error);
  return [`${failure.type}: ${failure.message}`, ...detailLines(failure.details)];
}

function detailLines(details: unknown): readonly string[] {
  if (typeof details !== 'object' || details === null) return [];
  return Object.entries(details).flatMap(([name, value]: [string, unknown]) =>
    Array.isArray(value)
      ? [`${name}:`, ...value.flatMap((each) => String(each).split('\n')).map((line) => `  ${line}`)]
      : [`${name}: ${typeof value === 'string' || typeof value === 'number' ? value : JSON.stringify(value)}`],
  );
}
