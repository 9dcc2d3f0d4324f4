import { readFileSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from '@jest/globals';
import { createProgram } from '../../../src/cli/program.ts';

const root = resolve(import.meta.dirname, '../../..');

/** What stands behind `slipway` without being a command: names of connections, and the text that a lock's number is made of. */
const noCommands = [/application_?name: 'slipway [a-z]+'/gi, /SHA-256 of `slipway migrations`/g];

function texts(): { readonly file: string; readonly text: string }[] {
  const files = ['src', 'docs'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((file) => join(folder, file)),
  );
  return [...files, 'README.md', 'CONTRIBUTING.md']
    .filter((file) => /\.(?:ts|tsx|md)$/.test(file))
    .map((file) => ({
      file,
      text: noCommands.reduce((text, pattern) => text.replace(pattern, ''), readFileSync(join(root, file), 'utf8')),
    }));
}

test('no text sends anybody to a command that does not exist', () => {
  const program = createProgram({ version: '0', signal: new AbortController().signal });
  const known = new Map(
    program.commands.flatMap((command) =>
      [command.name(), ...command.aliases()].map((name) => [name, command.commands.map((sub) => sub.name())] as const),
    ),
  );
  const unknown: string[] = [];
  let named = 0;
  for (const { file, text } of texts()) {
    for (const [what, name = '', sub] of text.matchAll(/[`'"]slipway ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?/g)) {
      named += 1;
      const subs = known.get(name);
      // Only of these two is the next word always a command too; elsewhere it may be an argument.
      const group = name === 'project' || name === 'token';
      if (subs === undefined || (group && sub !== undefined && !subs.includes(sub))) unknown.push(`${file}: ${what}`);
    }
  }
  expect(named).toBeGreaterThan(50);
  expect(unknown).toEqual([]);
});
