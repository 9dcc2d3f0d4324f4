import { expect, test } from '@jest/globals';
import type { Command } from 'commander';
import { createProgram } from '../../../src/cli/program.ts';

const program = createProgram({ version: '0.0.0', signal: new AbortController().signal });

function withParts(command: Command): readonly Command[] {
  return [command, ...command.commands.flatMap((part) => withParts(part))];
}

const [, ...commands] = withParts(program as unknown as Command);

/** The program takes its own options also behind a command, so that one of the same name there is never seen. */
test.each(commands.map((command) => [command.name(), command] as const))(
  '%s has no option of the program',
  (_, command) => {
    const taken = new Set(
      program.options.flatMap(({ short, long }) => [short, long]).filter((name) => name !== undefined),
    );
    const own = command.options.flatMap(({ short, long }) => [short, long]);
    expect(own.filter((name) => name !== undefined && taken.has(name))).toEqual([]);
  },
);

test('there are commands to look at', () => {
  expect(commands.length).toBeGreaterThan(20);
});
