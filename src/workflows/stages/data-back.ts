import { CancellationScope, condition, patched } from '@temporalio/workflow';
import type { Change, DataActivities } from '../../activities/contracts.ts';
import { tellUnexported } from '../../domain/database-work.ts';
import type { DataRollback } from '../../domain/deployment.ts';
import { tellFailure } from '../../domain/failures.ts';
import { call } from '../call.ts';
import { dataLimits, dataWork } from '../proxies/deployment.ts';
import { compensation } from '../proxies/undo.ts';

/** Before, what was written since the backup had to be exported within the three minutes of an undo. */
const swapAlone = '2026-11-26-swap-alone';

const leftWords = 'left as it is, on a person’s word';

type Back = Omit<Parameters<DataActivities['ensureDataRolledBack']>[0], 'exportsLater'>;

/** Brings the data back. Where that is a swap it is all that is done; {@link exportLaterWrites} does the rest. */
export function bringDataBack(input: Back): Promise<DataRollback> {
  const alone = patched(swapAlone) ? { exportsLater: true } : {};
  const limits = isQuick(input) ? {} : dataLimits;
  return call(compensation.ensureDataRolledBack, `data back to ${input.to}`, { ...input, ...alone }, limits);
}

/** Whether it is a rename, or nothing. Else the whole database is restored, or compared, before anybody knows what is to be done. */
function isQuick({ restore, migrated, backup }: Back): boolean {
  return restore === 'automatic' ? backup.proof !== undefined : !migrated;
}

/** Whether the data is back by a swap whose later writes nobody has exported yet. */
export function owesExport(data: DataRollback | undefined): data is DataRollback {
  return data?.action === 'swapped' && data.laterWrites === undefined && patched(swapAlone);
}

/**
 * Has the writes exported that a swap took away; never throws. Takes its time, and disturbs nobody.
 *
 * @param left - a person has said to leave things as they are: it ends at once.
 * @returns what is known of the data then.
 */
export async function exportLaterWrites(
  data: DataRollback,
  input: Change & Pick<Back, 'backup'>,
  left: () => boolean,
): Promise<DataRollback> {
  const unexported = (why: string): DataRollback => ({
    ...data,
    unexported: tellUnexported(data.damagedDatabase, why),
  });
  if (left()) return unexported(leftWords);
  const scope = new CancellationScope();
  const summary = 'exports what was written since the backup';
  try {
    // Should the whole rollback be stopped, this goes with it.
    void condition(left).then(
      () => scope.cancel(),
      () => undefined,
    );
    const { laterWrites, detail } = await scope.run(() => call(dataWork.ensureLaterWritesExported, summary, input));
    return { ...data, detail: `${data.detail}; ${detail}`, laterWrites };
  } catch (error) {
    return unexported(left() ? leftWords : tellFailure(error));
  }
}
