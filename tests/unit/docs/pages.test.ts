import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, test } from '@jest/globals';

const root = resolve(import.meta.dirname, '../../..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const pages = [
  'README.md',
  'CONTRIBUTING.md',
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
];

/** As forges name the headings of a page. */
function anchorsOf(text: string): readonly string[] {
  const seen = new Map<string, number>();
  return [...text.matchAll(/^#{1,6} (.+)$/gm)].map(([, heading = '']) => {
    const plain = heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-');
    const before = seen.get(plain) ?? 0;
    seen.set(plain, before + 1);
    return before === 0 ? plain : `${plain}-${before}`;
  });
}

test.each(pages)('every link of %s leads somewhere', (page) => {
  const text = read(page);
  const broken = [...text.matchAll(/\]\((?!https?:|mailto:)([^)\s]+)\)/g)]
    .map(([, link = '']) => link)
    .filter((link) => {
      const [path = '', anchor] = link.split('#');
      const target = path === '' ? join(root, page) : resolve(root, dirname(page), path);
      if (!existsSync(target)) return true;
      if (anchor === undefined || statSync(target).isDirectory()) return false;
      return !anchorsOf(read(relative(root, target))).includes(anchor);
    });
  expect(broken).toEqual([]);
});

describe('the decisions', () => {
  const folder = 'docs/adr';
  const files = readdirSync(join(root, folder)).filter((name) => /^\d{4}-.+\.md$/.test(name));
  const index = read(join(folder, 'README.md'));

  test('stand in their index, each once, in their order, with what it decides', () => {
    const rows = [...index.matchAll(/^\| \[(\d{4})\]\(([^)]+)\) \| .{10,} \|$/gm)].map(([, number, file]) => [
      number,
      file,
    ]);
    expect(rows).toEqual(files.sort().map((name) => [name.slice(0, 4), name]));
  });

  test('whose numbers were never used are named', () => {
    const used = new Set(files.map((name) => Number(name.slice(0, 4))));
    const last = Math.max(...used);
    const gaps = Array.from({ length: last }, (_, at) => at + 1).filter((number) => !used.has(number));
    const told = /and never again; ([\d,\s]+ and \d{4}) have no file/.exec(index)?.[1] ?? '';
    expect([...told.matchAll(/\d{4}/g)].map(([number]) => Number(number))).toEqual(gaps);
  });

  test.each(files)('%s begins with its number', (name) => {
    expect(read(join(folder, name))).toMatch(new RegExp(`^# ${name.slice(0, 4)}\\. `));
  });
});
