import { Context } from '@temporalio/activity';
import type { SecretRef, SecretRefs } from '../definition/specs/secret.ts';
import type { DeploymentRef } from '../domain/deployment.ts';
import { describeFailure } from '../domain/failures.ts';
import { type Redactor, createRedactor } from '../effects/redact.ts';
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
   * @throws what `work` throws, and nothing else.
   */
  during<T>(subject: LogSubject, place: Place, work: (log: DeploymentLog) => Promise<T>): Promise<T>;
  /** The same for traffic, which nothing may delay: no secret is read, for a router knows none. */
  beside<T>(subject: LogSubject, work: (log: DeploymentLog) => Promise<T>): Promise<T>;
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
      const log: DeploymentLog = {
        say: writer.say.bind(writer),
        lines: (lines) => {
          if (redactor !== undefined) for (const line of lines) writer.say(line);
        },
      };
      if (redactor === undefined) {
        writer.say('The secrets of this environment could not be read, so what programs say is not kept.');
      }
      return await written(writer, log, work, redactor !== undefined);
    },

    async beside(subject, work) {
      const writer = open(deps.logs, subject, createRedactor([]));
      const say = writer.say.bind(writer);
      return await written(writer, { say, lines: (lines) => lines.forEach(say) }, work, true);
    },
  };
}

async function written<T>(
  writer: LogWriter,
  log: DeploymentLog,
  work: (log: DeploymentLog) => Promise<T>,
  details: boolean,
): Promise<T> {
  let open = true;
  // What goes on for a moment after the work, as following a container does, must not begin a log anew that is closed.
  const own: DeploymentLog = {
    say(line) {
      if (open) log.say(line);
    },
    lines(lines) {
      if (open) log.lines(lines);
    },
  };
  try {
    return await work(own);
  } catch (error) {
    for (const line of failureLines(error, details)) writer.say(line);
    throw error;
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

/**
 * What a failure says, a line each: its message, and where what programs said may be kept, its details too.
 *
 * A message may repeat a program's words as well; where its secrets are not known, only the kind of the failure is told.
 */
function failureLines(error: unknown, details: boolean): readonly string[] {
  const failure = describeFailure(error);
  if (!details) return [`${failure.type}: it failed; \`slipway status\` has the reason.`];
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
