import type { Machines, Notice } from '../activities/contracts.ts';
import {
  type DiskReading,
  describeDisk,
  enginesToPrune,
  gigabytes,
  isCritical,
  judgeDisks,
  usedShare,
} from '../domain/disk.ts';
import { describeFailure } from '../domain/failures.ts';
import { type UpkeepRound, mostLines } from '../domain/upkeep.ts';
import { call } from './call.ts';
import { machineAbsenceMs } from './proxies/limits.ts';
import { diskWork, rounds } from './proxies/upkeep.ts';
import { message } from './proxies/word.ts';
import { showPage } from './progress.ts';

/**
 * Looks how full the disks of every machine are, frees those that are too full of images that nothing needs, and tells people. A machine that
 * does not answer keeps no other from being looked at.
 */
export async function watchDisks(): Promise<readonly UpkeepRound[]> {
  const known = await call(rounds.readMachines, 'which machines there are', undefined);
  const done: UpkeepRound[] = [];
  await Promise.all(
    known.machines.map(async (machine) => {
      const round = await watchMachine(machine, known.projects);
      await call(rounds.recordRound, `${machine.name}: ${round.verdict}`, round);
      done.push(round);
      showPage(
        'disks',
        done.map(({ subject, verdict, summary }) => `${subject}: ${verdict}, ${summary}`),
      );
    }),
  );
  return done;
}

async function watchMachine(
  { queue, name }: Machines['machines'][number],
  projects: readonly string[],
): Promise<UpkeepRound> {
  const limits = { taskQueue: queue, scheduleToStartTimeout: machineAbsenceMs };
  const done: string[] = [];
  const failed: string[] = [];
  let count = 0;
  let reading: DiskReading;
  try {
    reading = await call(diskWork.readDisks, `disks of ${name}`, undefined, limits);
  } catch (error) {
    const summary = `the machine does not answer: ${describeFailure(error).message}`;
    return { kind: 'disk', subject: name, verdict: 'errored', summary, lines: [], detail: { queue } };
  }
  const before = reading;
  for (const engine of enginesToPrune(reading)) {
    try {
      const input = { engine, until: reading.limits.low };
      const removal = await call(diskWork.pruneImages, `makes room on ${name}`, input, limits);
      count += removal.count;
      if (removal.count > 0) done.push(`${removal.what}: ${removal.count} removed`);
      if (removal.left !== undefined) failed.push(removal.left);
    } catch (error) {
      failed.push(`${engine}: ${describeFailure(error).message}`);
    }
    try {
      reading = await call(diskWork.readDisks, `disks of ${name} after that`, undefined, limits);
    } catch (error) {
      // What was read before still holds at worst: the disk is no fuller for what was removed.
      failed.push(`not measured again: ${describeFailure(error).message}`);
    }
  }
  const judged = judgeDisks(reading);
  const summary = count === 0 ? judged.summary : `${count} images removed; ${judged.summary}`;
  const lines = [...reading.disks.map(describeDisk), ...reading.unmeasured, ...done, ...failed].slice(0, mostLines);
  const round: UpkeepRound = {
    kind: 'disk',
    subject: name,
    verdict: judged.verdict,
    summary,
    lines,
    detail: {
      queue,
      removed: count,
      disks: reading.disks.map((disk) => ({ ...disk, usedShare: usedShare(disk) })),
      freedBytes: freedBytes(before, reading),
    },
  };
  if (judged.verdict === 'failed' || count > 0) await tell(round, reading, projects);
  return round;
}

function freedBytes(before: DiskReading, after: DiskReading): number {
  const sum = ({ disks }: DiskReading): number => disks.reduce((total, { usedBytes }) => total + usedBytes, 0);
  return Math.max(0, sum(before) - sum(after));
}

/** Once a day for each machine and how bad it is; everybody who has a project here may be next to find no room. */
async function tell(round: UpkeepRound, reading: DiskReading, projects: readonly string[]): Promise<void> {
  const level = isCritical(reading) ? 'critical' : round.verdict === 'failed' ? 'error' : 'warning';
  const day = new Date(Date.now()).toISOString().slice(0, 10);
  const freed = gigabytes(Number(round.detail['freedBytes']));
  const what =
    round.verdict === 'failed' ? `the disk of ${round.subject} is filling up` : `room was made on ${round.subject}`;
  await Promise.all(
    projects.map(async (project) => {
      const notice: Notice = {
        event: 'disk-filling',
        level,
        project,
        key: `upkeep/disk/${round.subject}/${level}/${day}/${project}`,
        page: '/v1/upkeep',
        title: what,
        lines: [round.summary, `${freed} freed`, ...round.lines],
      };
      await call(message.sendNotice, what, notice).catch(() => undefined);
    }),
  );
}
