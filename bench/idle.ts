import { setTimeout as delay } from 'node:timers/promises';
import type { Bench } from './bench.ts';
import { expectRight } from './bench.ts';
import { startInstallation } from './installation.ts';
import { cpuSeconds, processTree, residentBytes, rssBytes } from './machine.ts';
import { rounded } from './statistics.ts';
import { readState } from '../src/local/state.ts';

const settleMs = 10_000;
const watchMs = 60_000;

/** What an installation costs that has nothing to do. */
export const idle: Bench = {
  summary: 'an installation with nothing to do for a minute: memory and processor of API, worker and store',
  async run(options) {
    const installation = await startInstallation(options);
    const store = readState(installation.context, 'store')?.process?.pid;
    const roots = {
      api: installation.system.process('api')?.pid,
      worker: installation.system.process('worker')?.pid,
      store,
    };
    for (const [name, pid] of Object.entries(roots)) expectRight(pid !== undefined, `${name} does not run`);
    await delay(settleMs);
    const pids = Object.values(roots).flatMap((pid) => (pid === undefined ? [] : processTree(pid)));
    const before = pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0);
    await delay(options.n === undefined ? watchMs : options.n * 1_000);
    const seconds = pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0) - before;
    const mb = (bytes: number): number => rounded(bytes / 1_048_576);
    const of = (pid: number | undefined, read: (pid: number) => number): number =>
      pid === undefined ? 0 : mb(processTree(pid).reduce((sum, each) => sum + read(each), 0));
    return {
      figures: {
        pssMb: rounded(of(roots.api, residentBytes) + of(roots.worker, residentBytes) + of(roots.store, residentBytes)),
        cpuPercent: rounded((seconds / ((options.n ?? watchMs / 1_000) || 1)) * 100),
        apiMb: of(roots.api, residentBytes),
        workerMb: of(roots.worker, residentBytes),
        storeMb: of(roots.store, residentBytes),
        rssMb: rounded(of(roots.api, rssBytes) + of(roots.worker, rssBytes) + of(roots.store, rssBytes)),
      },
      notes: [
        'pssMb counts a page that processes share once, which is what the machine gives; rssMb counts it in every one of them',
      ],
    };
  },
};
