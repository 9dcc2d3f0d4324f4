import { expect, test } from '@jest/globals';
import {
  type Disk,
  type DiskReading,
  defaultDiskLimits,
  describeDisk,
  enginesToPrune,
  isCritical,
  judgeDisks,
  usedShare,
} from '../../../src/domain/disk.ts';

const disk = (percent: number, engines: readonly string[] = []): Disk => {
  return { holds: ['blobs'], engines, usedBytes: percent * 1e9, availableBytes: (100 - percent) * 1e9 };
};
const reading = (disks: readonly Disk[], unmeasured: readonly string[] = []): DiskReading => {
  return { disks, unmeasured, limits: defaultDiskLimits };
};

test('a disk is too full from its limit on, and only engines on such a disk are freed', () => {
  const both = reading([disk(84.9, ['a']), disk(85, ['b', 'c'])]);
  expect(enginesToPrune(both)).toEqual(['b', 'c']);
  expect(judgeDisks(both)).toEqual({ verdict: 'failed', summary: '85 % full, 15.0 GB left: blobs' });
  expect(judgeDisks(reading([disk(84.9)]))).toEqual({ verdict: 'passed', summary: 'no disk is fuller than 84 %' });
  expect([isCritical(reading([disk(94.9)])), isCritical(reading([disk(95)]))]).toEqual([false, true]);
});

test('what could not be measured is errored, and nothing to measure no pass', () => {
  expect(judgeDisks(reading([disk(10)], ['engine x: it is away'])).verdict).toBe('errored');
  expect(judgeDisks(reading([disk(90)], ['engine x: it is away'])).verdict).toBe('failed');
  expect(judgeDisks(reading([])).verdict).toBe('inconclusive');
});

test('a file system without a size is not full', () => {
  const none: Disk = { holds: ['x'], engines: [], usedBytes: 0, availableBytes: 0 };
  expect(usedShare(none)).toBe(0);
  expect(describeDisk(none)).toBe('0 % full, 0.0 MB left: x');
});
