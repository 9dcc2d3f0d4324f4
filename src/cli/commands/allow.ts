import type { Client, RunName } from '../client.ts';
import { type CommandContext, defaultProject } from '../context.ts';
import { CliError } from '../exit.ts';
import { nameOf, parseName } from '../names.ts';

/**
 * `slipway allow <run>`: the word for a pull request from a fork. It is for one commit, named by `--commit` or asked about; where nobody can be
 * asked, the command says what to type and allows nothing.
 */
export async function allow(
  context: CommandContext,
  name: string,
  options: { readonly commit?: string | undefined },
): Promise<void> {
  const { terminal } = context;
  const client = await context.connect();
  const named = parseName(name, await defaultProject(client));
  if (named.kind === 'deployment') {
    throw new CliError('usage', `${nameOf(named)} is a deployment; what it needs is \`slipway approve\`.`);
  }
  const commit = options.commit ?? (await askAbout(context, client, named));
  await client.allowRun(named, commit);
  const text = `${named.project}#${named.number}`;
  terminal.result('allow', { allowed: named, commit }, () => `${text} goes on.`);
  if (!terminal.json) terminal.suggest([{ command: `slipway status ${text} --watch`, when: 'to follow it' }]);
}

async function askAbout({ terminal }: CommandContext, client: Client, run: RunName): Promise<string> {
  const { commit, ref, author } = await client.readRun(run);
  const command = `slipway allow ${run.project}#${run.number} --commit ${commit.slice(0, 12)}`;
  const next = [{ command, when: 'once you have read what it changes' }];
  if (!terminal.interactive || terminal.json) {
    throw new CliError('action-required', 'Which commit is meant must be said: its code is run.', {
      type: 'commit-not-named',
      next,
    });
  }
  terminal.say(`${run.project}#${run.number} is commit ${commit} of ${ref}, by ${author}. Its code will be run.`);
  const { confirm } = await import('../ask.ts');
  if (!(await confirm('Have you read what it changes, and may it be run?'))) {
    throw new CliError('action-required', 'Nothing was allowed.', { next });
  }
  return commit;
}
