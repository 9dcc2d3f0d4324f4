import { describe, expect, test } from '@jest/globals';
import { fc } from '../../support/property.ts';
import { parseRequest } from '../../../src/providers/metrics/haproxy-log.ts';
import { createRequestWindow } from '../../../src/providers/metrics/window.ts';

describe('figures of a window', () => {
  test('count exactly and give the 95th percentile', () => {
    const window = createRequestWindow(60_000);
    for (let ms = 1; ms <= 100; ms += 1) {
      window.add({ atMs: 10_000, release: 'v', status: ms > 90 ? 503 : 200, totalMs: ms, broken: false });
    }
    expect(window.figures(5_000, 12_000)).toEqual({ requests: 100, errors: 10, errorRatio: 0.1, p95Ms: 95 });
  });

  test('leave out what is older than the span and what has not happened yet', () => {
    const window = createRequestWindow(120_000);
    for (const atMs of [1_000, 20_000, 90_000])
      window.add({ atMs, release: 'v', status: 200, totalMs: 1, broken: false });
    expect(window.figures(10_000, 25_000).requests).toBe(1);
    expect(window.figures(10_000, 25_000).errorRatio).toBe(0);
  });

  test('have a percentile close to the exact one however many requests a second there are', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2_001, max: 20_000 }), (count) => {
        const window = createRequestWindow(60_000);
        for (let index = 0; index < count; index += 1) {
          window.add({ atMs: 5_000, release: 'v', status: 200, totalMs: (index * 7919) % 1_000, broken: false });
        }
        const { requests, p95Ms } = window.figures(10_000, 6_000);
        expect(requests).toBe(count);
        expect(Math.abs(p95Ms - 950)).toBeLessThan(40);
      }),
      { numRuns: 20 },
    );
  });

  test('a connection that broke and an answer that never came are errors', () => {
    const window = createRequestWindow(60_000);
    window.add({ atMs: 1_000, release: 'v', status: 200, totalMs: 1, broken: true });
    window.add({ atMs: 1_000, release: 'v', status: 0, totalMs: 1, broken: false });
    expect(window.figures(5_000, 2_000).errors).toBe(2);
  });
});

describe('a line of the router', () => {
  const line = (fields: object): string =>
    JSON.stringify({
      at: 5,
      route: 'hello:production',
      server: 'green:1.2.0',
      status: 200,
      ta: 7,
      ts: '----',
      ...fields,
    });

  test('tells the release by the server that answered', () => {
    expect(parseRequest(line({}), 'hello:production')).toEqual({
      atMs: 5,
      release: '1.2.0',
      slot: 'green',
      status: 200,
      totalMs: 7,
      broken: false,
    });
  });

  test('is nobody’s when no server took the request', () => {
    expect(parseRequest(line({ server: '<NOSRV>', status: 503, ts: 'SC--' }), 'hello:production')).toMatchObject({
      release: '',
      status: 503,
      broken: true,
    });
  });

  test.each([
    ['another route', line({ route: 'hello:staging' })],
    ['no JSON', '{"route":"hello:production"'],
    ['a notice', '[NOTICE] new worker'],
  ])('is passed over when it is %s', (_what, text) => {
    expect(parseRequest(text, 'hello:production')).toBeUndefined();
  });
});
