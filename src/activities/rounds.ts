import { listProjects } from '../store/projects.ts';
import type { Store } from '../store/store.ts';
import { listMachines, recordRound } from '../store/upkeep.ts';
import { typed } from './changes.ts';
import type { RoundActivities } from './contracts.ts';

/** A machine that was not there for so long is not asked any more, days; that of the checkouts (activities/upkeep.ts). */
const machineDays = 30;

/** What upkeep asks and tells the store. */
export function createRoundActivities({ store }: { readonly store: Pick<Store, 'db'> }): RoundActivities {
  return {
    readMachines: () =>
      typed(async () => {
        const [machines, projects] = await Promise.all([listMachines(store.db, machineDays), listProjects(store.db)]);
        return { machines, projects: projects.map(({ name }) => name) };
      }),
    recordRound: (round) => typed(() => recordRound(store.db, round)),
  };
}
