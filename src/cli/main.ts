#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { CommanderError } from 'commander';
import { CliError, exitCodes } from './exit.ts';
import { createProgram } from './program.ts';
import { createTerminal } from './terminal.ts';

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};
const stop = new AbortController();
// The first Ctrl-C lets a command say what goes on without it; the second one ends it as it stands.
process.once('SIGINT', () => stop.abort());

// Whoever reads has had enough, as `| head` does: that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(exitCodes.ok);
  throw error;
});

const program = createProgram({ version, signal: stop.signal });
// Errors of use must end with 2, so they are thrown here instead of ending the process by themselves; for every command, as it is not inherited.
for (const command of [program, ...program.commands.flatMap((each) => [each, ...each.commands])])
  command.exitOverride();
process.exitCode = await run(process.argv);

async function run(argv: readonly string[]): Promise<number> {
  // Known before the options are parsed, for a mistake in them must be answered in the form that was asked for.
  const json = argv.includes('--json');
  try {
    await program.parseAsync(argv);
    return exitCodes.ok;
  } catch (error) {
    const known = await toCliError(error);
    if (known === undefined) return exitCodes.ok;
    const told = error instanceof CommanderError && !json;
    if (!told) createTerminal({ json }).fail(known);
    return exitCodes[known.ending];
  }
}

/** @returns undefined where it was no failure: help or version were asked for. */
async function toCliError(error: unknown): Promise<CliError | undefined> {
  if (error instanceof CliError) return error;
  if (error instanceof CommanderError) {
    return error.exitCode === 0 ? undefined : new CliError('usage', error.message.replace(/^error: /, ''));
  }
  // By name: its class brings the SDK of Temporal along, which no other command needs.
  if (error instanceof Error && error.name === 'ProviderError' && 'type' in error) {
    const type = String(error.type);
    const { failures } = await import('../domain/failure-kinds.ts');
    const sentence = Object.hasOwn(failures, type) ? failures[type as keyof typeof failures].sentence : '';
    return new CliError(type === 'BuildRefused' ? 'failed' : 'errored', `${error.message}\n${sentence}`.trim(), {
      type,
    });
  }
  if (error instanceof Error && 'sentence' in error)
    return new CliError('errored', `${error.message} ${String(error.sentence)}`);
  return new CliError('errored', error instanceof Error ? (error.stack ?? error.message) : String(error), {
    type: 'internal',
  });
}
