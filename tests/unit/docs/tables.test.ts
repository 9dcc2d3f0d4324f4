import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { Notifier } from '../../../src/definition/kinds/notifier.ts';
import { noticeEvents } from '../../../src/domain/notice.ts';
import { roles } from '../../../src/store/tokens.ts';

const root = resolve(import.meta.dirname, '../../..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

/** Of one section, up to the next heading. */
function section(page: string, heading: string): string {
  const [, ...parts] = read(page).split(`\n## ${heading}\n`);
  expect(parts).toHaveLength(1);
  return parts[0]!.split('\n## ')[0]!;
}

/** What stands in backquotes in the first column of its tables. */
function named(text: string): readonly string[] {
  return [...text.matchAll(/^\| ([^|]+) \|/gm)].flatMap(([, cell = '']) =>
    [...cell.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name),
  );
}

test('every notice has its row, once', () => {
  expect([...named(section('docs/operations.md', 'Notices'))].sort()).toEqual([...noticeEvents].sort());
});

test('the example of notices is a valid list of channels', () => {
  const [, yaml = ''] = /^```yaml\n([^]*?)^```$/m.exec(section('docs/operations.md', 'Notices')) ?? [];
  const { notifications } = parse(yaml) as { readonly notifications: readonly unknown[] };
  expect(notifications).toHaveLength(3);
  for (const each of notifications) expect(Notifier.safeParse(each).error).toBeUndefined();
});

test('every role has its row, from the least to the greatest', () => {
  expect(named(section('docs/cli.md', 'Roles'))).toEqual(roles);
});

test('every setting that docker-compose.yml takes has its row, with its default', () => {
  const rows = section('docs/operations.md', 'Several machines');
  const taken = [...read('docker-compose.yml').matchAll(/\$\{(SLIPWAY_\w+)(?::-([^}]*)|:\?[^}]*)?\}/g)];
  const told = named(rows).filter((name) => name.startsWith('SLIPWAY_'));
  expect([...told].sort()).toEqual([...new Set(taken.map(([, name]) => name))].sort());
  const defaults = taken.flatMap(([, name = '', value]) => (value === undefined ? [] : [[name, value] as const]));
  expect(defaults.length).toBeGreaterThan(10);
  for (const [name, value] of defaults) {
    const row = rows.split('\n').find((line) => line.startsWith('|') && line.includes(`\`${name}\``));
    expect(row?.split('|')[2]).toContain(value);
  }
});
