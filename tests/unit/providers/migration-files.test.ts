import { describe, expect, test } from '@jest/globals';
import { migrationsOf } from '../../../src/providers/migrations/files.ts';

describe('the files of a migrations folder', () => {
  test('are in the order of their numbers, with what takes them back', () => {
    const migrations = migrationsOf([
      { path: '002_rename.sql', text: '-- slipway: contract\nalter table notes rename to texts;' },
      { path: '001_notes.down.sql', text: 'drop table notes;' },
      { path: '001_notes.sql', text: 'create table notes (id int);' },
      { path: 'README.md', text: 'not one' },
    ]);
    expect(migrations.map(({ name, kind, down }) => [name, kind, down])).toEqual([
      ['001_notes.sql', 'reversible', 'drop table notes;'],
      ['002_rename.sql', 'contract', undefined],
    ]);
    expect(migrations[0]?.checksum).toMatch(/^[0-9a-f]{64}$/);
  });

  test('count as breaking when nobody has said what they are', () => {
    expect(migrationsOf([{ path: '001_x.sql', text: 'select 1;' }])[0]?.kind).toBe('contract');
  });

  test('are refused with everything that is wrong with them at once', () => {
    const files = [
      { path: '001_a.sql', text: '-- slipway: harmless\n' },
      { path: '001_b.sql', text: '-- slipway: reversible\n' },
      { path: 'notes.sql', text: '' },
      { path: '009_gone.down.sql', text: '' },
    ];
    expect(() => migrationsOf(files)).toThrow(
      expect.objectContaining({
        type: 'DefinitionInvalid',
        details: {
          problems: [
            '001_b.sql: 001_a.sql has the number 001 already',
            'notes.sql: the name must begin with its number, such as 003_notes.sql',
            '001_a.sql: `-- slipway: harmless` is no kind of migration; it is one of expand, reversible, contract',
            '001_b.sql: is called reversible but has no 001_b.down.sql',
            '009_gone.down.sql: takes back a migration that is not there',
          ],
        },
      }),
    );
  });
});
