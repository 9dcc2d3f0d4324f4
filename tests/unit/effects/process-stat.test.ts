import { expect, test } from '@jest/globals';
import { parseProcessStat, readProcessStat } from '../../../src/effects/process-stat.ts';

/** As Linux 6 wrote it of a process named so, whose first thread had ended while another one still listened on a port. */
function line(state: string, threads: number, name = 'python3'): string {
  const rest = '4197 24197 28309 0 -1 4227084 3060 6539 2 0 5 0 4 2 20 0';
  return `24206 (${name}) ${state} 2${rest} ${String(threads)} 0 6268971 0 0 18446744073709551615 0 0 0 0 0 0 0 16781318\n`;
}

test('a process has ended when the last of its threads has, not when the first one has', () => {
  expect(parseProcessStat(line('S', 2))).toEqual({ startedAt: '6268971', ended: false });
  expect(parseProcessStat(line('Z', 2))).toEqual({ startedAt: '6268971', ended: false });
  expect(parseProcessStat(line('Z', 1))).toEqual({ startedAt: '6268971', ended: true });
  // By then nobody counts its threads any more.
  expect(parseProcessStat(line('Z', 0))).toEqual({ startedAt: '6268971', ended: true });
  expect(parseProcessStat(line('X', 0))).toEqual({ startedAt: '6268971', ended: true });
});

test('a name may look like what follows it', () => {
  expect(parseProcessStat(line('S', 1, 'a) Z 1 (b'))).toEqual({ startedAt: '6268971', ended: false });
});

test('tells this process from one that is not there', () => {
  expect(readProcessStat(process.pid)).toEqual({ startedAt: expect.stringMatching(/^\d+$/), ended: false });
  expect(readProcessStat(4_194_305)).toBeUndefined();
  expect(parseProcessStat('')).toBeUndefined();
});
