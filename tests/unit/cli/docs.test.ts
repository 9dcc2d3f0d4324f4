import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from '@jest/globals';
import { exitCodes } from '../../../src/cli/exit.ts';
import { createProgram } from '../../../src/cli/program.ts';

const page = readFileSync(resolve(import.meta.dirname, '../../../docs/cli.md'), 'utf8');

test('the page names every command, and no other', () => {
  const program = createProgram({ version: '0', signal: new AbortController().signal });
  const names = program.commands.flatMap((command) => [
    command.name(),
    ...command.commands.map((sub) => `${command.name()} ${sub.name()}`),
  ]);
  const table = page.slice(page.indexOf('## Commands'), page.indexOf('## Waiting'));
  const told = [...table.matchAll(/^\| ([^|]+) \|/gm)]
    .flatMap((row) => [...(row[1] ?? '').matchAll(/`([^`]+)`/g)])
    .map((match) => match[1]!.replace(/ [<[].*$/, ''));
  const groups = ['project', 'token'];
  expect(told.filter((name) => name !== 'runs').sort()).toEqual(names.filter((name) => !groups.includes(name)).sort());
});

test('the page has every exit code', () => {
  for (const code of Object.values(exitCodes)) expect(page).toMatch(new RegExp(`^\\| ${code} \\|`, 'm'));
});
