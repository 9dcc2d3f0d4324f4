import { type DeploymentLogs, createDeploymentLogs } from '../../../src/activities/deployment-logs.ts';
import type { LogName } from '../../../src/activities/logs.ts';
import { createLogWriter } from '../../../src/effects/log-writer.ts';
import type { LogFiles } from '../../../src/effects/log-files.ts';

/** Logs of deployments whose texts a test reads. */
export interface FakeDeploymentLogs extends DeploymentLogs {
  /** What was written so far, by `stage/step`; those that were closed only. */
  readonly texts: ReadonlyMap<string, string>;
  readonly names: readonly LogName[];
}

type Values = Readonly<Record<string, string>>;

/**
 * The real logs over files in memory.
 *
 * @param secrets - values of the environment's secrets; `missing`: they cannot be read. A function is asked at each read, and undefined is missing.
 */
export function createFakeDeploymentLogs(
  secrets: Values | 'missing' | (() => Values | undefined) = {},
): FakeDeploymentLogs {
  const texts = new Map<string, string>();
  const names: LogName[] = [];
  const parts = new Map<string, string>();
  const files: LogFiles = {
    append: (log, _place, bytes) => {
      parts.set(log, (parts.get(log) ?? '') + bytes.toString());
      return Promise.resolve(log);
    },
    finish: () => Promise.resolve(),
    read: () => Promise.resolve(Buffer.alloc(0)),
    remove: () => Promise.resolve(0),
    readTimes: () => Promise.resolve([]),
  };
  const read = (): Promise<Values> => {
    const values = typeof secrets === 'function' ? secrets() : secrets;
    return values === undefined || values === 'missing'
      ? Promise.reject(new Error('the vault is sealed'))
      : Promise.resolve(values);
  };
  const logs = createDeploymentLogs({
    logs: {
      open(name, redactor) {
        names.push(name);
        const log = `${name.stage}/${name.step}`;
        const writer = createLogWriter({
          log,
          files,
          ...(redactor === undefined ? {} : { redactor }),
          onSegment: () => undefined,
        });
        return {
          write: (chunk) => writer.write(chunk),
          say: (line) => writer.say(line),
          async close() {
            await writer.close();
            texts.set(log, parts.get(log) ?? '');
          },
        };
      },
    },
    readSecret: async () => (await read())['DATABASE_URL'] ?? '',
    readSecrets: read,
  });
  return { ...logs, texts, names };
}
