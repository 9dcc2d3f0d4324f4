import { describe, expect, test } from '@jest/globals';
import { fc } from '../../support/property.ts';
import { unifiedDiff } from '../../../src/api/diff.ts';
import { createRateLimit, webhookRate } from '../../../src/api/rate-limit.ts';
import { parseRange } from '../../../src/api/routes/logs.ts';
import { completeCharacters } from '../../../src/api/text.ts';
import { toProblem } from '../../../src/api/problems.ts';
import { connectionUrl } from '../../../src/activities/databases.ts';
import { createLogger, readConfig } from '../../../src/config.ts';
import { ProviderError } from '../../../src/domain/failures.ts';

describe('the rate limit', () => {
  test('lets the burst through, then the rate, and no more', () => {
    let now = 0;
    const limit = createRateLimit({ ...webhookRate, now: () => now });
    const passed = (): number => {
      let count = 0;
      while (limit.take('hello') === 0) count += 1;
      return count;
    };
    expect(passed()).toBe(1_000);
    now += 60_000;
    expect(passed()).toBe(1_000);
    now += 3_000;
    expect(passed()).toBe(100);
    expect(limit.take('hello')).toBe(1);
    expect(limit.take('other')).toBe(0);
  });
});

describe('the diff', () => {
  test('shows what changed with three lines around', () => {
    const before = Array.from({ length: 20 }, (_, index) => `line ${index}`).join('\n');
    const after = before.replace('line 10', 'line ten').replace('line 19', 'line 19\nline 20');
    expect(unifiedDiff(before, after, 'project.yaml')).toBe(
      [
        '--- a/project.yaml',
        '+++ b/project.yaml',
        '@@ -8,7 +8,7 @@',
        ' line 7',
        ' line 8',
        ' line 9',
        '-line 10',
        '+line ten',
        ' line 11',
        ' line 12',
        ' line 13',
        '@@ -18,3 +18,4 @@',
        ' line 17',
        ' line 18',
        ' line 19',
        '+line 20',
        '',
      ].join('\n'),
    );
    expect(unifiedDiff(before, before, 'x')).toBe('');
  });

  test('turns the one text into the other', () => {
    const lines = fc.array(fc.constantFrom('a', 'b', 'c', ''), { maxLength: 30 });
    fc.assert(
      fc.property(lines, lines, (before, after) => {
        const diff = unifiedDiff(before.join('\n'), after.join('\n'), 'x');
        expect(apply(before.join('\n'), diff)).toEqual(withoutLast(after.join('\n')));
      }),
    );
  });

  test('of two large texts with nothing in common takes no time', () => {
    const large = (word: string): string => Array.from({ length: 20_000 }, (_, index) => `${word} ${index}`).join('\n');
    expect(unifiedDiff(large('a'), large('b'), 'x').split('\n')).toHaveLength(40_004);
  });
});

/** Applies a unified diff, as `patch` would. */
function apply(text: string, diff: string): readonly string[] {
  const lines = withoutLast(text);
  if (diff === '') return lines;
  const result: string[] = [];
  let at = 0;
  for (const line of diff.split('\n').slice(2, -1)) {
    const start = /^@@ -(\d+)/.exec(line)?.[1];
    if (start !== undefined) {
      const from = Number(start) - 1;
      result.push(...lines.slice(at, from));
      at = from;
    } else if (line.startsWith('+')) result.push(line.slice(1));
    else {
      expect(lines[at]).toBe(line.slice(1));
      if (line.startsWith(' ')) result.push(line.slice(1));
      at += 1;
    }
  }
  return [...result, ...lines.slice(at)];
}

function withoutLast(text: string): string[] {
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines;
}

describe('a piece of a log', () => {
  test('is never cut inside a character', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 1 }), fc.nat(), (text, cut) => {
        const bytes = Buffer.from(text);
        const piece = bytes.subarray(0, cut % (bytes.length + 1));
        const whole = completeCharacters(piece, false);
        expect(piece.length - whole).toBeLessThan(4);
        expect(text.startsWith(piece.toString('utf8', 0, whole))).toBe(true);
      }),
    );
  });

  test('that is not text at all is given on all the same', () => {
    const noise = Buffer.from([0x80, 0x80, 0x80, 0x80, 0x80]);
    expect(completeCharacters(noise, false)).toBe(5);
    expect(completeCharacters(Buffer.from([0xe2]), true)).toBe(1);
  });

  test.each([
    ['bytes=0-0', { from: 0, to: 1 }],
    ['bytes=5-', { from: 5, to: 10 }],
    ['bytes=-4', { from: 6, to: 10 }],
    ['bytes=-40', { from: 0, to: 10 }],
    ['bytes=9-99', { from: 9, to: 10 }],
    ['bytes=10-', 'unsatisfiable'],
    ['bytes=5-4', 'unsatisfiable'],
    ['bytes=-0', 'unsatisfiable'],
    ['bytes=-', undefined],
    ['bytes=0-1,3-4', undefined],
    ['lines=1-2', undefined],
    [undefined, undefined],
  ])('asked for as %s is %j', (header, range) => {
    expect(parseRange(header, 10)).toEqual(range);
  });
});

describe('problems', () => {
  test('tell what was wrong with a request, and nothing of what is wrong inside', () => {
    const told = toProblem(new ProviderError('Conflict', 'It was decided.', { details: { by: 'ada' } }));
    expect(told).toMatchObject({ status: 409, detail: expect.stringMatching(/^It was decided\. [A-Z]/), by: 'ada' });
    for (const error of [
      new Error('password authentication failed for user "slipway"'),
      new ProviderError('StoreUnavailable', 'connect ECONNREFUSED 10.0.0.7:5432'),
      'a text',
      undefined,
    ]) {
      const inside = toProblem(error);
      expect(inside.status).toBeGreaterThanOrEqual(500);
      expect(inside.instance).toMatch(/^urn:uuid:/);
      expect(JSON.stringify(inside)).not.toMatch(/password|10\.0\.0\.7|a text/);
    }
  });
});

describe('the environment of a process', () => {
  test('has a default for everything', () => {
    const config = readConfig({ SLIPWAY_STATE: '/var/lib/slipway', HOME: '/nonexistent' });
    expect(config).toMatchObject({
      stateFolder: '/var/lib/slipway',
      folders: { blobs: '/var/lib/slipway/blobs', spool: '/var/lib/slipway/spool' },
      databaseUrl: undefined,
      api: { host: '127.0.0.1', port: 8420, tls: undefined },
      worker: { capabilities: ['orchestration', 'build', 'deploy', 'notify'] },
      temporal: { namespace: 'default' },
      logLevel: 'info',
    });
  });

  test('takes an empty variable for one that is not set', () => {
    const empty = { SLIPWAY_API_PORT: '', SLIPWAY_STORE_POOL: ' ', SLIPWAY_LOG_LEVEL: '', SLIPWAY_DISK_HIGH: '' };
    const config = readConfig({ ...empty, HOME: '/nonexistent' });
    expect([config.api.port, config.storePoolSize, config.logLevel, config.disk.high]).toEqual([
      8420,
      10,
      'info',
      0.85,
    ]);
  });

  test('is told all that is wrong with it at once', () => {
    const wrong = () =>
      readConfig({ SLIPWAY_API_PORT: 'many', DATABASE_URL: 'mysql://x', SLIPWAY_CAPABILITIES: 'build,sing' });
    expect(wrong).toThrow(
      expect.objectContaining({
        type: 'ConfigurationInvalid',
        message: expect.stringMatching(/DATABASE_URL.*SLIPWAY_API_PORT.*SLIPWAY_CAPABILITIES/s),
      }),
    );
  });

  test('cannot open the API to others without TLS', () => {
    expect(() => readConfig({ SLIPWAY_API_HOST: '0.0.0.0', HOME: '/nonexistent' })).toThrow('SLIPWAY_TLS_CERT');
    const tls = { SLIPWAY_TLS_CERT: 'cert.pem', SLIPWAY_TLS_KEY: 'key.pem' };
    expect(readConfig({ SLIPWAY_API_HOST: '0.0.0.0', HOME: '/nonexistent', ...tls }).api.host).toBe('0.0.0.0');
    expect(() => readConfig({ SLIPWAY_TLS_CERT: 'cert.pem', HOME: '/nonexistent' })).toThrow('together');
  });

  test('says where Temporal is, and how to get in', () => {
    const { temporal } = readConfig({
      HOME: '/nonexistent',
      TEMPORAL_ADDRESS: 'temporal.example.com:7233',
      TEMPORAL_NAMESPACE: 'slipway',
      TEMPORAL_API_KEY: 'key',
    });
    expect(temporal).toMatchObject({ address: 'temporal.example.com:7233', namespace: 'slipway' });
    expect(temporal.connection).toMatchObject({ apiKey: 'key' });
  });
});

describe('the log of a process', () => {
  test('has of an error what happened, and nothing of what a library was given', () => {
    const lines: string[] = [];
    const logger = createLogger({ logLevel: 'info' }, 'worker', { write: (line) => void lines.push(line) });
    let cause: unknown;
    try {
      new URL('postgres://app:s3cr/et-planted@127.0.0.1:5432/hello');
    } catch (error) {
      cause = error;
    }
    const error = new ProviderError('BackupFailed', 'the backup broke off', { details: { tool: 'pg_dump' }, cause });
    logger.warn({ error }, 'Activity failed');
    logger.warn({ err: cause }, 'Activity failed');
    expect(lines.join('')).not.toContain('planted');
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      error: {
        type: 'BackupFailed',
        message: 'the backup broke off',
        details: { tool: 'pg_dump' },
        stack: expect.stringContaining('pieces.test.ts'),
        cause: { code: 'ERR_INVALID_URL', message: 'Invalid URL' },
      },
    });
  });

  test('what a database is reached by is named and not shown where it is no URL', () => {
    const url = 'postgres://app:s3cr/et-planted@127.0.0.1:5432/hello';
    const reading = (): string => connectionUrl({ kind: 'env', name: 'HELLO_DATABASE' }, url, 'hello/production');
    let caught: unknown;
    try {
      reading();
    } catch (error) {
      caught = error;
    }
    expect(caught).toMatchObject({ type: 'SecretMissing' });
    expect((caught as Error).cause).toBeUndefined();
    expect(String(caught)).toMatch(/Variable HELLO_DATABASE is no connection URL of the database of hello\/production/);
    expect(JSON.stringify(caught)).not.toContain('planted');
    expect(connectionUrl({ kind: 'env', name: 'X' }, 'postgres://a:b%2Fc@h/d', 'x')).toBe('postgres://a:b%2Fc@h/d');
  });
});
