import { describe, expect, test } from '@jest/globals';
import { scanNotice } from '../../../src/activities/notice-texts.ts';
import { type ScanVerdict, erroredScan } from '../../../src/domain/image-scan.ts';
import type { ImageReport } from '../../../src/domain/run.ts';

const errored = erroredScan('the scanner is missing', '2026-11-25T00:00:00.000Z');
const failed: ScanVerdict = {
  ...errored,
  verdict: 'failed',
  reason: 'one counts',
  counts: { critical: 0, high: 9, medium: 0, low: 0, unknown: 0 },
  lines: Array.from({ length: 9 }, (_, index) => `high CVE-${index} in left-paddle`),
};

function noticeOf(...scans: readonly (ScanVerdict | undefined)[]): ReturnType<typeof scanNotice> {
  const images = scans.map((scan, index): ImageReport => {
    const evidence = { buildKey: '', bases: {}, warnings: [], ...(scan === undefined ? {} : { scan }) };
    return {
      name: `image-${index}`,
      repository: 'r',
      digest: 'd',
      tags: [],
      sizeBytes: 1,
      reused: false,
      durationMs: 1,
      evidence,
    };
  });
  return scanNotice({
    run: { project: 'shop', key: 'k', number: 7 },
    number: 7,
    input: { project: 'shop', key: 'k', event: { after: 'c'.repeat(40) } } as never,
    stages: [],
    images,
    outcome: 'succeeded',
    reason: '',
    deployments: [],
  });
}

describe('the alert about images of a run', () => {
  test('is not sent where all passed or none was scanned', () => {
    expect(noticeOf(undefined, { ...failed, verdict: 'passed' })).toBeUndefined();
  });

  test.each([
    ['critical', { ...failed, counts: { ...failed.counts, critical: 1 } }],
    ['error', failed],
    ['warning', errored],
  ] as const)('is as loud as what was found: %s', (level, scan) => {
    expect(noticeOf(undefined, scan)).toMatchObject({ event: 'security-alert', level, key: 'shop/run/7/scan' });
  });

  test('tells the worst ones of each image, and why nothing is known of others', () => {
    const { title, lines } = noticeOf(failed, errored)!;
    expect(title).toBe('shop #7: vulnerable packages in image-0, image-1');
    expect(lines.filter((line) => line.startsWith('image-0: high'))).toHaveLength(5);
    expect(lines).toContain('image-1: errored, the scanner is missing');
  });
});
