import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { problemsOf } from './documents.ts';

const page = readFileSync(join(import.meta.dirname, '../../../docs/stages.md'), 'utf8');
const examples = [...page.matchAll(/^## (.+)\n[^]*?^```yaml\n([^]*?)^```$/gm)].map(
  ([, title = '', yaml = '']) => [title, yaml] as const,
);
const project = `version: 1
project: shop
repository:
  url: https://forge.example/team/shop.git
  forge: { kind: github, secrets: [{ env: SHOP_WEBHOOK_SECRET }] }
registry: { address: registry.example:5000 }
`;

test('the page has an example of every feature', () => {
  expect(examples.map(([title]) => title)).toEqual(
    [...page.matchAll(/^## (.+)$/gm)].map(([, title]) => title).filter((title) => title !== 'Logs'),
  );
});

test.each(examples)('the example of %s is a valid definition', (_, yaml) => {
  expect(problemsOf({ repository: `version: 1\nimage: python:3.12\n${yaml}`, project })).toEqual([]);
});
