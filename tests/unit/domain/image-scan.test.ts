import { describe, expect, test } from '@jest/globals';
import {
  type ImageScan,
  type ScanMode,
  type Vulnerability,
  allowsImage,
  erroredScan,
  judgeScan,
  mergeScans,
  stopsPush,
} from '../../../src/domain/image-scan.ts';

const found: Vulnerability = {
  id: 'GHSA-1',
  aliases: ['CVE-2026-1'],
  severity: 'high',
  package: 'left-paddle',
  version: '1.0.0',
  fixedIn: ['1.0.1'],
};
const scanOf = (vulnerabilities: readonly Partial<Vulnerability>[], packages = 10): ImageScan => ({
  scanner: { name: 'osv-scanner', version: '2' },
  databaseAt: '2026-11-24T00:00:00.000Z',
  scannedAt: '2026-11-25T12:00:00.000Z',
  packages,
  vulnerabilities: vulnerabilities.map((each) => ({ ...found, ...each })),
});
const rules = { severities: ['high', 'critical'], exceptions: [] } as const;
const exception = { id: 'CVE-2026-1', reason: 'never reached', until: '2026-11-25' };

describe('the judgement on a scan', () => {
  test('fails for what counts, the worst first, and tells the rest by number', () => {
    const verdict = judgeScan(scanOf([{}, { id: 'A', severity: 'critical' }, { id: 'B', severity: 'low' }]), rules);
    expect(verdict.verdict).toBe('failed');
    expect(verdict.lines).toEqual([
      'critical A in left-paddle 1.0.0 (gone in 1.0.1)',
      'high GHSA-1 in left-paddle 1.0.0 (gone in 1.0.1)',
    ]);
    expect(verdict.counts).toEqual({ critical: 1, high: 1, medium: 0, low: 1, unknown: 0 });
  });

  test.each([
    ['high', 'failed'],
    ['critical', 'passed'],
  ] as const)('counts an advisory without a severity where %s counts: %s', (severity, verdict) => {
    expect(judgeScan(scanOf([{ severity: 'unknown' }]), { ...rules, severities: [severity] }).verdict).toBe(verdict);
  });

  test('passes what is not severe enough', () => {
    expect(judgeScan(scanOf([{ severity: 'medium' }]), rules)).toMatchObject({ verdict: 'passed', packages: 10 });
  });

  test('of nothing that could be looked up is no pass', () => {
    expect(judgeScan(scanOf([], 0), rules).verdict).toBe('inconclusive');
  });

  describe('of packages that the scanner knows nothing of', () => {
    const left = { kind: 'rpm/amzn', packages: 300, system: true };
    const without = (
      notLookedUp: ImageScan['notLookedUp'],
      found: readonly Partial<Vulnerability>[] = [],
    ): ImageScan => ({
      ...scanOf(found, 1),
      ...(notLookedUp === undefined ? {} : { notLookedUp }),
    });

    test('is no pass where they are those of the system, and says which', () => {
      expect(judgeScan(without([left]), rules)).toMatchObject({
        verdict: 'inconclusive',
        reason: expect.stringContaining(
          '300 of rpm/amzn were not looked up, for osv-scanner has no advisories',
        ) as unknown,
      });
    });

    test('fails all the same for what was found in the others', () => {
      expect(judgeScan(without([left], [{}]), rules).verdict).toBe('failed');
    });

    test('passes where they are of another kind, and names them', () => {
      expect(judgeScan(without([{ kind: 'conda', packages: 2, system: false }]), rules)).toMatchObject({
        verdict: 'passed',
        reason: '1 packages, none with an advisory that counts; not looked up: 2 of conda',
      });
    });

    test('of an older Slipway is judged as it was', () => {
      expect(judgeScan(without(undefined), rules).verdict).toBe('passed');
    });

    test('of several platforms counts those of each', () => {
      expect(mergeScans([without([left]), without(undefined), without([left])]).notLookedUp).toEqual([
        { ...left, packages: 600 },
      ]);
    });
  });

  test('lets exceptions hold until their last day, for their package only, and tells of them', () => {
    const judge = (more: object) => judgeScan(scanOf([{}]), { ...rules, exceptions: [{ ...exception, ...more }] });
    expect(judge({})).toMatchObject({ verdict: 'passed', excepted: [expect.stringContaining('never reached')] });
    expect(judge({ package: 'left-paddle' }).verdict).toBe('passed');
    expect(judge({ package: 'right-paddle' }).verdict).toBe('failed');
    expect(judge({ id: 'CVE-2026-2' }).verdict).toBe('failed');
    const over = judge({ until: '2026-11-24' });
    expect(over).toMatchObject({ verdict: 'failed', excepted: [] });
    expect(over.lines[0]).toContain('ended on 2026-11-24');
  });
});

describe('what a verdict costs', () => {
  const passed = judgeScan(scanOf([]), rules);
  const failed = judgeScan(scanOf([{}]), rules);
  const errored = erroredScan('no scanner', '2026-11-25T12:00:00.000Z');

  test.each([
    ['block', passed, true],
    ['block', failed, false],
    ['block', errored, false],
    ['block', judgeScan(scanOf([], 0), rules), false],
    ['block', undefined, false],
    ['warn', failed, true],
    ['warn', errored, true],
    ['off', undefined, true],
  ] as const)('with %s', (mode, verdict, allowed) => {
    expect(allowsImage(mode, verdict)).toBe(allowed);
  });

  test.each<[readonly ScanMode[], boolean]>([
    [['block'], true],
    [['block', 'block'], true],
    // Staging can have it, production will refuse it when its plan is made.
    [['warn', 'block'], false],
    [['off'], false],
  ])('a run to environments that say %j stops: %s', (modes, stops) => {
    expect(stopsPush(modes, [passed, failed])).toBe(stops);
    expect(stopsPush(modes, [errored])).toBe(stops);
    expect(stopsPush(modes, [passed])).toBe(false);
  });
});
