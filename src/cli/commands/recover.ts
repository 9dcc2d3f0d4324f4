import type { Recovery } from '../client.ts';
import { type CommandContext, defaultProject } from '../context.ts';
import { CliError, type Ending } from '../exit.ts';
import { parseEnvironment } from '../names.ts';

export interface RecoverOptions {
  readonly apply?: true | undefined;
  readonly reason?: string | undefined;
}

/** `slipway recover <environment>`: what the store has lost of it, said or written. Never moves traffic. */
export async function recover(context: CommandContext, environment: string, options: RecoverOptions): Promise<void> {
  const apply = options.apply === true;
  if (apply && options.reason === undefined) {
    throw new CliError('usage', 'A reason is needed to write: --reason "…"; it is kept in the audit.');
  }
  const client = await context.connect();
  const name = parseEnvironment(environment, await defaultProject(client));
  const found = await client.recover(name, { apply, ...(apply ? { reason: options.reason } : {}) });
  const ending: Ending = found.problems.length === 0 ? 'ok' : 'errored';
  const shown = `${name.project}/${name.environment}`;
  context.terminal.result('recovery', { recovery: found }, () => page(shown, found), ending);
  if (!apply && found.lines.length > 0 && !context.terminal.json) {
    context.terminal.suggest([{ command: `slipway recover ${shown} --apply --reason "…"`, when: 'to write it' }]);
  }
  if (ending !== 'ok') {
    throw new CliError(ending, `Not everything of ${shown} could be made out.`, {
      type: 'incomplete',
      printed: context.terminal.json,
    });
  }
}

function page(shown: string, { applied, lines, problems }: Recovery): string {
  const head =
    lines.length === 0
      ? `Nothing is missing of ${shown}.`
      : applied
        ? `Written of ${shown}:`
        : `Would be written of ${shown}:`;
  return [
    head,
    ...lines.map((line) => `  ${line}`),
    ...(problems.length === 0 ? [] : ['Not known:', ...problems.map((line) => `  ${line}`)]),
  ].join('\n');
}
