import { describe, expect, test } from '@jest/globals';
import { MockActivityEnvironment } from '@temporalio/testing';
import type { DeploymentLog, LogSubject } from '../../../src/activities/deployment-logs.ts';
import type { Place } from '../../../src/activities/places.ts';
import { ProviderError } from '../../../src/domain/failures.ts';
import { type FakeDeploymentLogs, createFakeDeploymentLogs } from '../../support/fakes/deployment-logs.ts';
import { until } from '../../support/until.ts';

const secret = 'a-secret-of-the-service';
const url = 'postgres://app:p4ssword-of-the-database@db:5432/hello';
const place = { spec: { secrets: { TOKEN: {} }, database: { url: {} } } } as unknown as Place;
const subject: LogSubject = {
  project: 'hello',
  environment: 'production',
  number: 7,
  stage: 'migrate',
  what: 'database',
};

async function write(
  logs: FakeDeploymentLogs,
  work: (log: DeploymentLog) => Promise<unknown>,
  info: ConstructorParameters<typeof MockActivityEnvironment>[0] = {},
): Promise<{ readonly text: string; readonly error: unknown }> {
  const environment = new MockActivityEnvironment({ activityId: '12', ...info });
  const error: unknown = await environment
    .run(() => logs.during(subject, place, work))
    .then(
      () => undefined,
      (reason: unknown) => reason,
    );
  await until(() => logs.texts.size > 0, { what: 'the log to be written' });
  return { text: [...logs.texts.values()].at(-1) ?? '', error };
}

const failed = new ProviderError('MigrationFailed', `001.sql failed: ${secret}`, {
  details: { file: '001.sql', line: 3, output: ['FATAL: p4ssword-of-the-database', 'a second line'] },
});

describe('the log of a stage of a deployment', () => {
  test('has what was said and how it failed, without secrets', async () => {
    const { text, error } = await write(createFakeDeploymentLogs({ TOKEN: secret, DATABASE_URL: url }), (log) => {
      log.say('001.sql begins');
      log.lines([`the server says ${secret}`, url]);
      return Promise.reject(failed);
    });
    expect(error).toBe(failed);
    expect(text).toBe(
      '001.sql begins\nthe server says ***\n***\nMigrationFailed: 001.sql failed: ***\nfile: 001.sql\nline: 3\noutput:\n  FATAL: ***\n  a second line\n',
    );
  });

  test('keeps nothing of what programs say where the secrets are not known', async () => {
    const { text, error } = await write(createFakeDeploymentLogs('missing'), (log) => {
      log.say('001.sql begins');
      log.lines([secret]);
      return Promise.reject(failed);
    });
    expect(error).toBe(failed);
    expect(text).not.toContain(secret);
    expect(text).not.toContain('p4ssword');
    expect(text).toMatch(/could not be read.*\n001\.sql begins\nMigrationFailed/);
  });

  test('takes nothing more once the work has ended', async () => {
    let kept: DeploymentLog | undefined;
    const logs = createFakeDeploymentLogs();
    await write(logs, (log) => {
      kept = log;
      log.say('first');
      return Promise.resolve();
    });
    kept?.lines(['too late']);
    kept?.say('too late');
    expect([...logs.texts.values()]).toEqual(['first\n']);
  });

  test('is one for each activity, each of its attempts, and each time that a deployment is rolled out anew', async () => {
    const logs = createFakeDeploymentLogs();
    const say = (log: DeploymentLog): Promise<void> => {
      log.say('x');
      return Promise.resolve();
    };
    await write(logs, say);
    await write(logs, say, { attempt: 2 });
    const workflowExecution = { workflowId: 'rollout/hello/production/7.2', runId: 'r' };
    await write(logs, say, { workflowExecution });
    expect(logs.names).toEqual(
      [
        ['database-12', 1],
        ['database-12', 2],
        ['database-2.12', 1],
      ].map(([step, attempt]) => ({
        deployment: { project: 'hello', environment: 'production', number: 7 },
        stage: 'migrate',
        step,
        attempt,
      })),
    );
  });
});
