import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import ts from 'typescript';
import { ensureWorkflowBundle } from '../../../src/workers/bundle.ts';

/** What a linter does not see. */

const folder = join(import.meta.dirname, '../../../src/workflows');
const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));

function parse(file: string): ts.SourceFile {
  return ts.createSourceFile(file, readFileSync(join(folder, file), 'utf8'), ts.ScriptTarget.Latest, true);
}

function callsOf(source: ts.SourceFile, name: string): ts.CallExpression[] {
  const found: ts.CallExpression[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && ts.isIdentifier(node.expression) && node.expression.text === name)
      found.push(node);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

function propertiesOf(call: ts.CallExpression): string[] {
  const [options] = call.arguments;
  if (options === undefined || !ts.isObjectLiteralExpression(options)) return [];
  return options.properties.map((property) => property.name?.getText() ?? '');
}

/** Where proxies are, and nothing else makes one. */
const proxyFiles = ['deployment', 'record', 'run', 'undo', 'upkeep', 'word'].map((name) => `proxies/${name}.ts`);

const proxies = files.flatMap((file) =>
  callsOf(parse(file), 'proxyActivities').map((call) => ({
    file,
    call,
    name: ts.isVariableDeclaration(call.parent) ? call.parent.name.getText() : call.parent.getText(),
  })),
);

/** What must not give up, each with its reason in CONTRIBUTING.md and beside it. */
const withoutDeadline = ['following', 'readOwn', 'record', 'trafficBack'];

describe('every proxy of activities', () => {
  test('is in the file of its class', () => {
    expect(proxies.length).toBeGreaterThan(5);
    expect([...new Set(proxies.map((proxy) => proxy.file))].sort()).toEqual(proxyFiles);
  });

  test('names its cancellation type, its retries and the longest run of an attempt', () => {
    for (const { file, name, call } of proxies) {
      expect({ file, name, properties: propertiesOf(call) }).toEqual({
        file,
        name,
        properties: expect.arrayContaining(['cancellationType', 'retry', 'startToCloseTimeout']),
      });
    }
  });

  test('has a deadline over all its tries, but for the four that must not give up', () => {
    const without = proxies
      .filter(({ call }) => !propertiesOf(call).includes('scheduleToCloseTimeout'))
      .map(({ name }) => name);
    expect(without.sort()).toEqual(withoutDeadline);
  });
});

test('no activity is called without the line that people read for it', () => {
  const names = proxies.map(({ name }) => name);
  for (const file of files) {
    const source = parse(file);
    const visit = (node: ts.Node): void => {
      if (
        ts.isCallExpression(node) &&
        ts.isPropertyAccessExpression(node.expression) &&
        ts.isIdentifier(node.expression.expression)
      ) {
        const direct =
          names.includes(node.expression.expression.text) && imports(source).includes(node.expression.expression.text);
        expect({ file, call: direct ? node.getText() : '' }).toEqual({ file, call: '' });
      }
      ts.forEachChild(node, visit);
    };
    visit(source);
  }
});

function imports(source: ts.SourceFile): string[] {
  return source.statements
    .filter(ts.isImportDeclaration)
    .filter((one) => one.moduleSpecifier.getText().includes('/proxies/'))
    .map((one) => one.getText().split(/\W+/))
    .flat();
}

test('every timer says what it is for', () => {
  for (const file of files) {
    for (const call of callsOf(parse(file), 'condition')) {
      if (call.arguments.length > 1) expect(`${file}: ${call.getText()}`).toContain('summary:');
    }
    for (const call of callsOf(parse(file), 'sleep')) expect(`${file}: ${call.getText()}`).toContain('summary:');
  }
});

test('every workflow is in the bundle, and nothing else is', () => {
  const exported = files
    .filter((file) => !file.includes('/') && file !== 'index.ts')
    .flatMap((file) => workflowsOf(parse(file)));
  const listed = parse('index.ts')
    .statements.filter(ts.isExportDeclaration)
    .flatMap((one) =>
      one.exportClause !== undefined && ts.isNamedExports(one.exportClause)
        ? one.exportClause.elements.map((element) => element.name.text)
        : ['*'],
    );
  expect([...listed].sort()).toEqual(exported.sort());
});

describe('the rooms', () => {
  const importsOf = (file: string): string[] =>
    parse(file)
      .statements.filter(ts.isImportDeclaration)
      .map((one) => (ts.isStringLiteral(one.moduleSpecifier) ? one.moduleSpecifier.text : ''))
      .filter((from) => from.startsWith('.'))
      .map((from) => join(file, '..', from));
  const inside = (folder: string): string[] => files.filter((file) => file.startsWith(`${folder}/`));
  const workflows = importsOf('index.ts').concat(
    parse('index.ts')
      .statements.filter(ts.isExportDeclaration)
      .map((one) => (one.moduleSpecifier === undefined ? '' : one.moduleSpecifier.getText().slice(3, -1))),
  );

  test('no stage and no strategy knows a workflow, or the parts of one', () => {
    expect(workflows).toContain('deploy-release.ts');
    const parts = files.filter((file) => /^(deployment|environment|roll-out|rollback)-/.test(file));
    expect(parts).toContain('environment-core.ts');
    for (const file of [...inside('stages'), ...inside('strategies')]) {
      const known = importsOf(file).filter((from) => workflows.includes(from) || parts.includes(from));
      expect({ file, known }).toEqual({ file, known: [] });
    }
  });

  test('a strategy is an order of moves: it calls nothing and says nothing by itself', () => {
    expect(inside('strategies').length).toBeGreaterThan(2);
    for (const file of inside('strategies').filter((one) => !one.endsWith('/strategy.ts'))) {
      const own = importsOf(file).filter((from) => !from.startsWith('strategies/') && !from.startsWith('../domain/'));
      expect({ file, own: own.filter((from) => from !== 'stages/roll-out.ts') }).toEqual({ file, own: [] });
    }
  });

  test('what the parts of a workflow share is theirs alone', () => {
    const cores = files.filter((file) => file.endsWith('-core.ts'));
    expect(cores.length).toBeGreaterThan(3);
    for (const core of cores) {
      const family = core.replace('-core.ts', '');
      const users = files.filter((file) => importsOf(file).includes(core));
      const own = family === 'deployment' ? ['deploy-release.ts'] : [`${family}.ts`, `${family}-release.ts`];
      const others = users.filter((file) => !file.startsWith(`${family}-`) && !own.includes(file));
      expect({ core, others }).toEqual({ core, others: [] });
    }
  });
});

/** A workflow is what the file is named after. */
function workflowsOf(source: ts.SourceFile): string[] {
  const name = source.fileName.replace(/\.ts$/, '').replaceAll(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
  return source.statements
    .filter(ts.isFunctionDeclaration)
    .filter(
      (one) =>
        one.name?.text === name &&
        (one.modifiers ?? []).some((modifier) => modifier.kind === ts.SyntaxKind.AsyncKeyword),
    )
    .map(() => name);
}

describe('the bundle', () => {
  let code = '';
  beforeAll(async () => {
    code = readFileSync(
      await ensureWorkflowBundle(join(import.meta.dirname, '../../../.slipway/test/bundles')),
      'utf8',
    );
  }, 60_000);

  test('carries no schema library and nothing of the other floors', () => {
    for (const name of [
      'node_modules/zod',
      'src/definition',
      'src/providers',
      'src/effects',
      'src/store',
      'src/activities',
    ]) {
      expect(code.includes(name) ? name : '').toBe('');
    }
    expect(code).toContain('src/domain');
  });
});
