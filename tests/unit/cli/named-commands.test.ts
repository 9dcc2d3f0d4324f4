import { readFileSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from '@jest/globals';
import { createProgram } from '../../../src/cli/program.ts';

const root = resolve(import.meta.dirname, '../../..');

/** What stands behind `slipway` without being a command: names of connections, and texts that a lock's number, a key and a signature are made of. */
const noCommands = [
  /'slipway decision (?:proof )?1'/g,
  /application_?name: 'slipway [a-z]+'/gi,
  /SHA-256 of `slipway migrations`/g,
  /update\(`slipway token \$\{body\}`\)/g,
];

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

/** As much of a command as stands in a text: what is filled in, quoted or left to the reader is one word. */
function wordsOf(text: string): readonly string[] {
  return text
    .replaceAll(/\$\{[^}]*\}|<[^>]*>|"[^"]*"?|\[[^\]]*\]|…/g, 'X')
    .split(/\s+/)
    .filter((word) => word !== '');
}

test('no text names a command with an option it does not have, or with more arguments than it takes', () => {
  const program = createProgram({ version: '0', signal: new AbortController().signal });
  const wrong: string[] = [];
  let checked = 0;
  for (const { file, text } of texts()) {
    for (const [whole, , rest = ''] of text.matchAll(/(\\?`)slipway ([a-z][^`\n]*?)\\?`/g)) {
      // The text goes on behind a template in a template.
      if (/\$\{[^}]*$/.test(rest)) continue;
      const [name = '', ...words] = wordsOf(rest);
      let command = program.commands.find((each) => each.name() === name || each.aliases().includes(name));
      if (command === undefined) continue;
      const sub = command.commands.find((each) => each.name() === words[0]);
      if (sub !== undefined) {
        command = sub;
        words.shift();
      }
      checked += 1;
      const options = [...command.options, ...program.options];
      let positionals = 0;
      for (let index = 0; index < words.length; index += 1) {
        const word = words[index] ?? '';
        if (!word.startsWith('-')) {
          positionals += 1;
          continue;
        }
        const [flag = ''] = word.split('=');
        const option = options.find(({ long, short }) => long === flag || short === flag);
        if (option === undefined && flag !== '--help') wrong.push(`${file}: ${whole}: no option ${flag}`);
        if (option !== undefined && (option.required || option.optional) && !word.includes('=')) index += 1;
      }
      const most = command.registeredArguments.some(({ variadic }) => variadic)
        ? Infinity
        : command.registeredArguments.length;
      if (positionals > most) wrong.push(`${file}: ${whole}: ${positionals} arguments, it takes ${most}`);
    }
  }
  expect(checked).toBeGreaterThan(100);
  expect(wrong).toEqual([]);
});
