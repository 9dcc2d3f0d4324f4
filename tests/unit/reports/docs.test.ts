import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from '@jest/globals';
import { gateOfKind } from '../../../src/domain/gate.ts';
import { reportKinds } from '../../../src/domain/report.ts';
import { reportReaders } from '../../../src/providers/reports/index.ts';

const page = readFileSync(resolve(import.meta.dirname, '../../../docs/reports.md'), 'utf8');

test('the page says of every kind of report how it is made and where it goes', () => {
  const rows = page.split('\n').filter((line) => /^\| `/.test(line));
  expect(rows).toEqual(
    reportKinds.map((kind) => `| \`${kind}\` | ${gateOfKind[kind]} | \`${reportReaders[kind].made}\` |`),
  );
});

test('every reader is listed under its own name', () => {
  for (const kind of reportKinds) expect(reportReaders[kind].kind).toBe(kind);
});
