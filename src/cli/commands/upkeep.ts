import type { UpkeepKind } from '../../domain/upkeep.ts';
import type { StoredRound } from '../../store/upkeep.ts';
import { type CommandContext, screenOf } from '../context.ts';
import { upkeepList } from '../pages/upkeep.ts';

/** `slipway upkeep --kind <kind>`: what is done by schedule, and what it found last. */
export async function upkeep(context: CommandContext, kind: UpkeepKind | undefined): Promise<void> {
  const client = await context.connect();
  const found: readonly StoredRound[] = await client.readUpkeep({ kind, project: client.connection.project });
  context.terminal.result('upkeep', { rounds: found }, () => upkeepList(found, screenOf(context)));
}
