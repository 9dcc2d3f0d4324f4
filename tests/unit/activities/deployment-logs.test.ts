import { describe, expect, test } from '@jest/globals';
import { CancelledFailure, DefaultFailureConverter, defaultPayloadConverter } from '@temporalio/common';
import { MockActivityEnvironment } from '@temporalio/testing';
import type { DeploymentLog, LogSubject } from '../../../src/activities/deployment-logs.ts';
import type { Place } from '../../../src/activities/places.ts';
import { ProviderError, failure, toFailure } from '../../../src/domain/failures.ts';
import { type FakeDeploymentLogs, createFakeDeploymentLogs } from '../../support/fakes/deployment-logs.ts';
import { until } from '../../support/until.ts';

const defaultFailureConverter = new DefaultFailureConverter();
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

/** As Temporal would write it down. */
function inHistory(error: unknown): string {
  return JSON.stringify(
    defaultFailureConverter.errorToFailure(toFailure(error), defaultPayloadConverter),
    (_key, value: unknown) => (value instanceof Uint8Array ? Buffer.from(value).toString() : value),
  );
}

describe('the log of a stage of a deployment', () => {
  test('has what was said and how it failed, without secrets', async () => {
    const { text, error } = await write(createFakeDeploymentLogs({ TOKEN: secret, DATABASE_URL: url }), (log) => {
      log.say('001.sql begins');
      log.lines([`the server says ${secret}`, url]);
      return Promise.reject(failed);
    });
    expect(error).toMatchObject({
      name: 'ProviderError',
      type: 'MigrationFailed',
      message: '001.sql failed: ***',
      details: { file: '001.sql', line: 3, output: ['FATAL: ***', 'a second line'] },
      retryable: false,
    });
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
    expect(error).toMatchObject({ type: 'MigrationFailed', details: {}, retryable: false });
    for (const kept of [text, inHistory(error)]) {
      expect(kept).not.toContain(secret);
      expect(kept).not.toContain('p4ssword');
    }
    expect(text).toMatch(/could not be read.*\n001\.sql begins\nMigrationFailed/);
  });

  test('lets nothing out by what is thrown: neither by a cause, a stack, a plain error nor a failure', async () => {
    const cause = new Error(`the driver had ${secret}`);
    const thrown = [
      new ProviderError('DatabaseUnreachable', 'no answer', { cause }),
      new TypeError(`cannot read ${secret}`, { cause }),
      failure('BackupFailed', `pg_dump: ${url}`, { details: { [secret]: [{ deep: secret }] }, cause }),
      new Error('connect to redis://:other-password@cache:6379 failed'),
    ];
    for (const each of thrown) {
      const logs = createFakeDeploymentLogs({ TOKEN: secret, DATABASE_URL: url });
      const { text, error } = await write(logs, () => Promise.reject(each));
      expect(error).toBeInstanceOf(Error);
      expect((error as Error).name).toBe(each.name);
      for (const kept of [text, inHistory(error)]) {
        expect(kept).not.toMatch(/a-secret-of|p4ssword|other-password/);
      }
      const unwritten: unknown = await logs
        .unwritten(place, () => Promise.reject(each))
        .catch((reason: unknown) => reason);
      expect(inHistory(unwritten)).not.toMatch(/a-secret-of|p4ssword|other-password/);
    }
  });

  test('says what Slipway itself wrote, whether the secrets are known or not, and leaves a cancellation what it is', async () => {
    const missing = new ProviderError('SecretMissing', 'Variable TOKEN is not set.');
    const cancelled = new CancelledFailure('enough');
    for (const secrets of ['missing', { TOKEN: secret }] as const) {
      expect((await write(createFakeDeploymentLogs(secrets), () => Promise.reject(missing))).error).toMatchObject({
        type: 'SecretMissing',
        message: 'Variable TOKEN is not set.',
      });
      expect((await write(createFakeDeploymentLogs(secrets), () => Promise.reject(cancelled))).error).toBe(cancelled);
    }
  });

  test('tries to read the secrets once more before it keeps back the reason of a failure', async () => {
    let sealed = true;
    const logs = createFakeDeploymentLogs(() => (sealed ? undefined : { TOKEN: secret, DATABASE_URL: url }));
    const { error } = await write(logs, () => {
      sealed = false;
      return Promise.reject(failed);
    });
    expect(error).toMatchObject({ message: '001.sql failed: ***' });
  });

  test('gives out what was heard without secrets, cut after they were taken out', async () => {
    const heard: string[] = [];
    await write(createFakeDeploymentLogs({ TOKEN: secret, DATABASE_URL: url }), (log) => {
      heard.push(log.heard.text(`${'x'.repeat(190)} ${secret} and more`, 200));
      heard.push(log.heard.text(`${secret.repeat(500)} and more`, 200));
      heard.push(log.heard.text('https://somebody:else@example.com/a@b and mailto:a@b'));
      return Promise.resolve();
    });
    expect(heard).toEqual([
      `${'x'.repeat(190)} *** and m`,
      '***'.repeat(67).slice(0, 200),
      'https://somebody:***@example.com/a@b and mailto:a@b',
    ]);
    await write(createFakeDeploymentLogs('missing'), (log) => {
      heard.push(log.heard.text(secret, 200));
      return Promise.resolve();
    });
    expect(heard.at(-1)).toMatch(/not repeated, for the secrets of this environment could not be read/);
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
