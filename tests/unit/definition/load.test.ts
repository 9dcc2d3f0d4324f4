import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { largestDocumentBytes } from '../../../src/definition/document.ts';
import {
  definitionInvalid,
  loadPair,
  loadProject,
  loadRepository,
  validateFiles,
} from '../../../src/definition/load.ts';
import { pairOf, problemsOf, projectText, repositoryText } from './documents.ts';

function repositoryProblems(
  text: string,
): readonly { readonly place: string; readonly message: string; readonly hint?: string }[] {
  const loaded = loadRepository({ file: 'slipway.yaml', text });
  if (loaded.ok) return [];
  return loaded.problems.map(({ line, column, path, message, hint }) => ({
    place: `${line}:${column} ${path}`,
    message,
    ...(hint === undefined ? {} : { hint }),
  }));
}

describe('a definition with ten mistakes', () => {
  // One mistake of each kind, so that none can hide another: unknown and missing settings, wrong types, forms, ranges and choices, and the
  // rules between settings.
  const text = `version: 1
stges: []
stages:
  - name: test
    timeout: 5 minutes
    steps:
      - name: unit
        rum: [npm, test]
      - name: lint
        run: npm run lint
images:
  - name: app
    context: ../elsewhere
service:
  image: ap
  port: 80800
probes:
  - name: front
    kind: htp
watch:
  logPatterns: ['(?<!no )FATAL']
configuration: everything
`;

  test('shows ten, in reading order, each where it stands and with what to do', () => {
    expect(repositoryProblems(text)).toEqual([
      { place: '2:1 stges', message: 'is no setting here', hint: 'Did you mean `stages`?' },
      { place: '5:14 stages[0].timeout', message: '`5 minutes` is no duration; write `30s`, `5m` or `24h`' },
      { place: '8:9 stages[0].steps[0].rum', message: 'is no setting here', hint: 'Did you mean `run`?' },
      {
        place: '10:14 stages[0].steps[1].run',
        message: 'must be a list: the command and its arguments, each on its own; for one line of shell use `shell`',
      },
      { place: '13:14 images[0].context', message: 'must not leave the repository with `..`' },
      {
        place: '15:10 service.image',
        message: 'is `ap`, which is none of the images',
        hint: 'Did you mean `app`?',
      },
      { place: '16:9 service.port', message: 'must be a port from 1 to 65535' },
      { place: '19:11 probes[0].kind', message: 'is `htp`, which does not exist', hint: 'Did you mean `http`?' },
      {
        place: '21:17 watch.logPatterns[0]',
        message: 'looks ahead or behind (`(?<!`), which RE2 does not do; write it without',
      },
      { place: '22:16 configuration', message: 'must be a group of settings, not a text' },
    ]);
  });

  test('shows nothing twice: what was misspelled is not missing too', () => {
    expect(repositoryProblems('version: 1\nservice: { imgae: app, port: 80 }\n')).toEqual([
      { place: '2:12 service.imgae', message: 'is no setting here', hint: 'Did you mean `image`?' },
    ]);
    expect(repositoryProblems('version: 1\nstages: [{ name: a, steps: [{ name: b }] }]\n')).toMatchObject([
      { message: 'has no command', hint: 'Add `run: [command, argument]`, or `shell:` with a line of shell.' },
    ]);
  });

  test('is told in one error that has them all', () => {
    const loaded = loadRepository({ file: 'slipway.yaml', text });
    const problems = loaded.ok ? [] : loaded.problems;
    const error = definitionInvalid(problems);
    expect(error).toMatchObject({ type: 'DefinitionInvalid', retryable: false, details: { problems } });
    expect(error.message.split('\n')).toHaveLength(problems.length + 1);
    expect(error.message).toContain('slipway.yaml:16:9 service.port must be a port from 1 to 65535');
  });
});

describe('problems', () => {
  test('a setting that is missing is shown at the group that lacks it, with what it is for', () => {
    expect(repositoryProblems('version: 1\nservice:\n  port: 80\n')).toEqual([
      { place: '2:1 service.image', message: 'is missing', hint: 'Name of one of the images.' },
    ]);
  });

  test('an empty setting says so instead of complaining about null', () => {
    expect(repositoryProblems('version: 1\nstages:\n')).toEqual([
      { place: '2:1 stages', message: 'is empty', hint: 'Give it a value, or remove it to get the default.' },
    ]);
  });

  test('a text that YAML took for something else says to quote it', () => {
    expect(repositoryProblems('version: 1\nimage: 1.10\n')).toEqual([
      { place: '2:8 image', message: 'must be the name of an image', hint: 'Put it in quotes.' },
    ]);
  });

  test('all mistakes in the syntax are there, and nothing is guessed about the content', () => {
    const problems = repositoryProblems('version: 1\nversion: 2\nimages: [a\nstages: {\n');
    expect(problems.length).toBeGreaterThan(1);
    expect(problems[0]?.message).toMatch(/^is not valid YAML: /);
    expect(problems.every(({ message }) => message.startsWith('is not valid YAML'))).toBe(true);
  });

  test('an empty document and two in one are each one problem', () => {
    expect(repositoryProblems('# nothing yet\n')).toMatchObject([{ message: 'is empty' }]);
    expect(repositoryProblems('version: 1\n---\nversion: 1\n')).toMatchObject([
      { hint: 'Keep one document in the file: remove the `---` between them.' },
    ]);
  });

  test('rules are judged on what could be read, through mistakes beside them', () => {
    const project = projectText
      .replace('port: 8081', 'port: 8080')
      .replace('registry.example:5000', 'https://registry.example');
    expect(problemsOf({ project })).toEqual([
      'registry.address must be `host` or `host:port`, without `https://`',
      'environments.staging.router.listen.port is 8080, which environments.production.router.listen.port has already',
    ]);
  });

  test('a block used twice by an alias is judged at its use', () => {
    const text =
      'version: 1\nstages:\n  - &block\n    name: test\n    steps: [{ name: unit, run: [make] }]\n  - *block\n';
    expect(repositoryProblems(text)).toMatchObject([{ message: 'is `test` a second time' }]);
  });
});

describe('hostile documents', () => {
  test('an alias bomb is refused before it is expanded', () => {
    const bomb = ['a: &a [x, x, x, x, x, x, x, x, x]'];
    for (let level = 1; level < 12; level += 1) {
      const before = String.fromCharCode(96 + level);
      const here = String.fromCharCode(97 + level);
      bomb.push(`${here}: &${here} [${Array.from({ length: 9 }, () => `*${before}`).join(', ')}]`);
    }
    const started = performance.now();
    expect(repositoryProblems(bomb.join('\n'))).toMatchObject([{ message: 'uses too many aliases' }]);
    expect(performance.now() - started).toBeLessThan(2_000);
  });

  test('a huge document is refused unread', () => {
    expect(repositoryProblems(`# ${'x'.repeat(largestDocumentBytes)}`)).toMatchObject([
      { place: '1:1 ', message: `is larger than the ${largestDocumentBytes} bytes that a definition may have` },
    ]);
  });

  test('endless nesting is a problem, not a crash', () => {
    expect(repositoryProblems('['.repeat(100_000))).toMatchObject([{ place: '1:1 ' }]);
  });

  test.each(['__proto__', 'constructor', 'toString'])('%s is no setting and changes no prototype', (name) => {
    expect(repositoryProblems(`version: 1\n${name}: { polluted: true }\n`)).toMatchObject([
      { message: 'is no setting here' },
    ]);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  test('inherited names are no environments', () => {
    const project = `${projectText}routes: [{ on: push, ref: main, environments: [constructor] }]\n`;
    expect(problemsOf({ project })).toEqual([
      'routes[0].environments[0] is `constructor`, which is no environment of this project',
    ]);
  });

  test.each(['/etc', '../x', 'a/../../b', 'a\\..\\b', ''])('no path leads out of the checkout: %j', (path) => {
    const repository = repositoryText.replace('- name: app', `- { name: app, context: ${JSON.stringify(path)} }`);
    expect(problemsOf({ repository })).toHaveLength(1);
  });

  test.each(['-v', '--privileged', 'a b', '$(id)', ''])('no image can be taken for an option: %j', (image) => {
    expect(problemsOf({ repository: repositoryText.replace('node:24-slim', JSON.stringify(image)) })).toHaveLength(1);
  });

  test.each(['ext::sh -c id', '--upload-pack=id', 'https://user:hunter2@forge.example/x.git'])(
    'no address of a repository runs anything or holds a password: %s',
    (url) => {
      const problems = problemsOf({ project: projectText.replace('https://forge.example/team/shop.git', url) });
      expect(problems).toHaveLength(1);
      expect(problems[0]).not.toContain('hunter2');
    },
  );
});

describe('secrets', () => {
  const written = projectText.replace('{ env: SHOP_WEBHOOK_SECRET }', 'hunter2');

  test('a value in the place of a reference is refused and never repeated', () => {
    const loaded = loadProject({ file: 'project.yaml', text: written });
    const problems = loaded.ok ? [] : loaded.problems;
    expect(problems).toMatchObject([{ path: 'repository.forge.secrets[0]', sensitive: true }]);
    expect(JSON.stringify(problems)).not.toContain('hunter2');
  });

  test.each(['{}', '{ env: A, file: b }', '{ value: hunter2 }'])('a reference has exactly one place: %s', (ref) => {
    const problems = problemsOf({ project: projectText.replace('{ env: SHOP_WEBHOOK_SECRET }', ref) });
    expect(problems.length).toBeGreaterThan(0);
    expect(problems.join('\n')).not.toContain('hunter2');
  });
});

describe('validateFiles', () => {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'slipway-validate-'));
  });
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  test('tells the documents apart by what is in them and checks them against each other', async () => {
    const repository = join(folder, 'ci.yaml');
    const project = join(folder, 'shop.yaml');
    await writeFile(repository, repositoryText.replace('        image: node:24-slim\n', ''));
    await writeFile(project, projectText);
    const alone = await validateFiles([repository]);
    expect(alone.problems).toEqual([]);
    const { problems, sources } = await validateFiles([project, repository]);
    expect(problems).toMatchObject([{ file: repository, path: 'stages[0].steps[0]' }]);
    expect(sources.get(project)).toBe(projectText);
  });

  test('a file that is not there is a problem like any other', async () => {
    const { problems } = await validateFiles([join(folder, 'nowhere.yaml'), folder]);
    expect(problems.map(({ message }) => message).sort()).toEqual(['cannot be read (EISDIR)', 'is not there']);
  });
});

test('the least of both documents is valid', () => {
  expect(problemsOf({})).toEqual([]);
  expect(pairOf().project.project).toBe('shop');
  expect(loadPair({ repository: { file: 'a', text: '' }, project: { file: 'b', text: '' } }).ok).toBe(false);
});
