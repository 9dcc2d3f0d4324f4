import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { validateFiles } from '../../../src/definition/load.ts';
import { renderProblems } from '../../../src/definition/render.ts';
import { projectText, repositoryText } from './documents.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-passage-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

const scanned = 'images: { scan: { scanner: osv-scanner, database: /db } }\n';

/** @param production - more of that environment, which stands first. */
async function validate(
  production: string,
  more: string = scanned,
  repository: string | null = repositoryText,
  listsImages = true,
) {
  const project = join(folder, 'project.yaml');
  const text = projectText.replace('  staging:\n', `${production === '' ? '' : `    ${production}\n`}  staging:\n`);
  await writeFile(project, `${text}${more}`);
  const files = [project];
  if (repository !== null) {
    files.push(join(folder, 'slipway.yaml'));
    await writeFile(join(folder, 'slipway.yaml'), repository);
  }
  const found = await validateFiles(files, { listsImages });
  expect(found.problems).toEqual([]);
  return found;
}
const pathsOf = async (...asked: Parameters<typeof validate>): Promise<readonly string[]> =>
  (await validate(...asked)).warnings.map(({ path }) => path);

const encrypted = 'encryptionAtRest: true';
const database = 'database: { kind: postgres, url: { env: URL } }';

describe('validation warns of what the plan of a release will be refused for', () => {
  test('a production that declares no encryption, with its place and what to do', async () => {
    const { warnings, sources } = await validate('');
    expect(warnings).toEqual([
      {
        ...{ file: join(folder, 'project.yaml'), line: 8, column: 3, path: 'environments.production.encryptionAtRest' },
        message: expect.stringMatching(/^is not declared, so the plan of every release is refused here/),
        hint: expect.stringContaining('Say `encryptionAtRest: true`'),
      },
    ]);
    const page = renderProblems(warnings, { color: false, sources, are: 'warnings' });
    expect(page).toContain('project.yaml:8:3  environments.production.encryptionAtRest is not declared');
    expect(page).toMatch(/\n\n1 warning in 1 file$/);
  });

  test.each([
    ['that declares it', encrypted, []],
    ['that puts the gate aside', 'gates: { compliance: { mode: off } }', []],
    [
      'that only warns, for what is not known closes it all the same',
      'gates: { compliance: { mode: warn } }',
      ['encryptionAtRest'],
    ],
    ['that is not encrypted', 'encryptionAtRest: false', ['encryptionAtRest']],
    ['that is not encrypted, and only warned', '{encryptionAtRest: false, gates: { compliance: { mode: warn } }}', []],
    ['that takes no backup', `{${encrypted}, ${database}, backup: { database: false }}`, ['backup.database']],
    ['that proves no backup', `{${encrypted}, ${database}, backup: { prove: false }}`, ['backup.prove']],
    ['that has nothing to back up', `{${encrypted}, backup: { prove: false }}`, []],
    ['that nobody has to approve', `{${encrypted}, approval: { required: false }}`, ['approval.required']],
    ['that is approved by no rule', `{${encrypted}, approval: { required: false, rules: [] }}`, ['approval.required']],
  ])('a production %s', async (_, production, paths) => {
    const lines = production.startsWith('{') ? settingsOf(production) : production;
    expect(await pathsOf(lines)).toEqual(paths.map((path) => `environments.production.${path}`));
  });

  test('a gate that blocks and that no stage has a report for', async () => {
    const gates = `${encrypted}\n    gates: { coverage: { mode: block, reports: [cobertura] } }`;
    const withReport = repositoryText.replace(
      '        image: node:24-slim\n',
      '        image: node:24-slim\n        reports: [{ kind: KIND, path: a.xml }]\n',
    );
    expect(await pathsOf(gates)).toEqual(['environments.production.gates.coverage']);
    expect(await pathsOf(gates, scanned, withReport.replace('KIND', 'lcov'))).toEqual([
      'environments.production.gates.coverage',
    ]);
    expect(await pathsOf(gates, scanned, withReport.replace('KIND', 'cobertura'))).toEqual([]);
    // Only the repository knows its reports.
    expect(await pathsOf(gates, scanned, null)).toEqual([]);
    const forAll = `${scanned}gates: { coverage: { mode: block } }\n`;
    expect(await pathsOf(encrypted, forAll)).toEqual(['gates.coverage']);
    expect(await pathsOf(encrypted, `${scanned}gates: { container: { mode: block } }\n`)).toEqual([]);
    // What is in the images is listed for their licences.
    const licences = (images: string): string =>
      `${scanned}gates: { dependencies: { mode: block, licences: { allow: [MIT], images: ${images} } } }\n`;
    expect(await pathsOf(encrypted, licences('all'))).toEqual([]);
    expect(await pathsOf(encrypted, licences('off'))).toEqual(['gates.dependencies']);
  });
});

describe('validation says what nobody looks into', () => {
  test.each([
    ['no scanner is named', '', true, ['images.scan']],
    ['no scanner is named and nothing is listed here', '', false, ['images.scan', 'images.sbom']],
    ['a scanner has the list made', scanned, false, []],
    ['the list is required', 'images: { sbom: required }\n', false, ['images.scan']],
    ['the list is not wanted', 'images: { sbom: off }\n', false, ['images.scan']],
  ])('where %s', async (_, images, listsImages, paths) => {
    expect(await pathsOf(encrypted, images, repositoryText, listsImages)).toEqual(paths);
  });

  test('nothing of a repository without images', async () => {
    const without = repositoryText.replace(/images:[^]*/, '');
    expect(await pathsOf(encrypted, 'routes: [{ on: pull-request }]\n', without)).toEqual([]);
  });

  test('nothing while there are mistakes', async () => {
    await writeFile(join(folder, 'project.yaml'), `${projectText}nonsense: 1\n`);
    const { problems, warnings } = await validateFiles([join(folder, 'project.yaml')]);
    expect([problems.length, warnings]).toEqual([1, []]);
  });
});

/** `{a: 1, b: { c: 2 }}` as lines of a group of four spaces. */
function settingsOf(flow: string): string {
  const parts: string[] = [];
  let depth = 0;
  let part = '';
  for (const letter of flow.slice(1, -1)) {
    if (letter === '{' || letter === '[') depth += 1;
    if (letter === '}' || letter === ']') depth -= 1;
    if (letter === ',' && depth === 0) {
      parts.push(part.trim());
      part = '';
    } else part += letter;
  }
  return [...parts, part.trim()].join('\n    ');
}
