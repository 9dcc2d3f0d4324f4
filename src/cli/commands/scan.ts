import { worst } from '../../domain/verdict.ts';
import { type CommandContext, defaultProject, screenOf } from '../context.ts';
import { CliError, type Ending } from '../exit.ts';
import { parseEnvironment } from '../names.ts';
import { upkeepList } from '../pages/upkeep.ts';
import { follow } from '../wait.ts';
import { needProject } from './act.ts';

/** How the command ends; nothing looked at is no pass. */
const endings = { passed: 'ok', failed: 'failed', errored: 'errored', inconclusive: 'errored' } as const;

/** `slipway scan [environment]`: scans what is live now, and shows what was found. */
export async function scan(context: CommandContext, name: string | undefined): Promise<void> {
  const client = await context.connect();
  const place =
    name === undefined ? { project: await needProject(client) } : parseEnvironment(name, await defaultProject(client));
  await client.startScan(place);
  const what = name === undefined ? place.project : name;
  const { rounds } = await follow(context, {
    what: `the scan of ${what}`,
    read: () => client.readScan(place),
    isOver: ({ running }) => !running,
    page: () => `scanning what is live of ${what}`,
    line: () => `scanning what is live of ${what}`,
    goOn: `slipway upkeep --kind scan`,
  });
  const verdict = worst(rounds.map((round) => round.verdict));
  const ending: Ending = endings[verdict];
  context.terminal.result('scan', { rounds }, () => upkeepList(rounds, screenOf(context)), ending);
  // The document was printed already; only the status is left to say.
  if (ending !== 'ok') {
    throw new CliError(ending, `The scan of ${what} ended ${verdict}.`, {
      type: 'outcome',
      printed: context.terminal.json,
    });
  }
}
