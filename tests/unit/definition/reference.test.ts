import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { validateFiles } from '../../../src/definition/load.ts';
import { renderReference } from '../../../src/definition/reference.ts';
import { Settings } from '../../../src/settings.ts';
import { renderSettings } from '../../../src/settings-reference.ts';
import { preferredPorts } from '../../../src/local/ports.ts';

const root = join(import.meta.dirname, '../../..');
const reference = { ...renderReference(), ...renderSettings() };

describe('the reference', () => {
  test.each(Object.keys(reference))(
    '%s is what the schemas say; `node scripts/generate-reference.ts` writes it',
    async (path) => {
      expect(await readFile(join(root, path), 'utf8')).toBe(reference[path]);
    },
  );

  test('says of every setting what it means', () => {
    const undescribed: string[] = [];
    const walk = (schema: Record<string, unknown>, path: string): void => {
      const properties = (schema['properties'] ?? {}) as Record<string, Record<string, unknown>>;
      for (const [name, setting] of Object.entries(properties)) {
        if (typeof setting['description'] !== 'string') undescribed.push(`${path}.${name}`);
        walk(setting, `${path}.${name}`);
      }
      for (const inner of [
        schema['items'],
        schema['additionalProperties'],
        ...((schema['oneOf'] ?? []) as unknown[]),
      ]) {
        if (typeof inner === 'object' && inner !== null) walk(inner as Record<string, unknown>, path);
      }
    };
    for (const path of Object.keys(reference).filter((name) => name.endsWith('.json'))) {
      walk(JSON.parse(reference[path] ?? '{}') as Record<string, unknown>, path);
    }
    expect(undescribed).toEqual([]);
  });
});

describe('the settings of a process', () => {
  const page = reference['docs/reference/settings.md'] ?? '';

  test('each has its row, with a default and a meaning', () => {
    const rows = [
      ...page.matchAll(/^\| `([A-Z_]+)` \| [^|]+ \| ([^|]+) \| (?:API|worker|API and worker) \| [^|]{8,} \|$/gm),
    ];
    expect(rows.map(([, name]) => name)).toEqual(Object.keys(Settings.shape));
    for (const [, , usual] of rows) expect(usual).not.toMatch(/undefined|object/);
  });

  test('are all that the code reads of its environment', async () => {
    const read = new Set<string>();
    for (const name of await readdir(join(root, 'src'), { recursive: true })) {
      // The command line has variables of its own, on its own page.
      if (!name.endsWith('.ts') || name.startsWith('cli/')) continue;
      const text = await readFile(join(root, 'src', name), 'utf8');
      for (const [, found = ''] of text.matchAll(/(?:environment|env)(?:\.|\[')(SLIPWAY_[A-Z_]+)/g)) read.add(found);
    }
    expect(read.size).toBeGreaterThan(0);
    for (const name of read) expect(Object.keys(Settings.shape)).toContain(name);
  });
});

describe('the examples', () => {
  test('are valid, each pair against each other', async () => {
    const folders = await readdir(join(root, 'examples'), { withFileTypes: true });
    const looked: string[] = [];
    for (const folder of folders.filter((entry) => entry.isDirectory())) {
      const names = await readdir(join(root, 'examples', folder.name));
      const files = ['slipway.yaml', 'project.yaml']
        .filter((name) => names.includes(name))
        .map((name) => join(root, 'examples', folder.name, name));
      expect((await validateFiles(files)).problems).toEqual([]);
      looked.push(...files);
    }
    expect(looked.length).toBeGreaterThanOrEqual(2);
  });

  test.each(['hello', 'python-service'])('%s pushes to the registry of `slipway up`', async (name) => {
    const text = await readFile(join(root, 'examples', name, 'project.yaml'), 'utf8');
    expect(text).toContain(`  address: 127.0.0.1:${preferredPorts.registry}\n`);
  });
});
