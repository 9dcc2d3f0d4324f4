import { execFile } from 'node:child_process';
import { execFileSync } from 'node:child_process';
import { linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Report, ReportKind } from '../../../src/domain/report.ts';
import { filesOf, markReports, readReport, readReports } from '../../../src/providers/reports/file.ts';
import { UnreadableReport } from '../../../src/providers/reports/port.ts';
import { attempt, readBytes } from './suite.ts';

const run = promisify(execFile);

describe('XML', () => {
  const suite = (inner: string, doctype = ''): Buffer =>
    Buffer.from(
      `<?xml version="1.0"?>${doctype}<testsuite name="s"><testcase name="t">${inner}</testcase></testsuite>`,
    );
  const reason = async (bytes: Buffer): Promise<string> => {
    const result = await attempt('junit', bytes);
    expect(result).toBeInstanceOf(UnreadableReport);
    return (result as UnreadableReport).message;
  };

  test('a bomb of entities is not expanded', async () => {
    const entities = Array.from(
      { length: 9 },
      (_, index) => `<!ENTITY l${index + 1} "${`&l${index};`.repeat(10)}">`,
    ).join('');
    const bomb = suite('<failure>&l9;</failure>', `<!DOCTYPE t [<!ENTITY l0 "ha">${entities}]>`);
    expect(await reason(bomb)).toBe('uses an entity of its own, which is never expanded');
  });

  test('nothing is fetched', async () => {
    const external = suite('<failure>&x;</failure>', '<!DOCTYPE t [<!ENTITY x SYSTEM "file:///etc/passwd">]>');
    expect(await reason(external)).toBe('uses an entity of its own, which is never expanded');
    const parameter = suite('', '<!DOCTYPE t [<!ENTITY % p SYSTEM "http://127.0.0.1:1/x.dtd"> %p;]>');
    expect(await attempt('junit', parameter)).not.toHaveProperty('tests.failures.0');
    // A reference to a DTD, as Cobertura has one, harms nothing.
    const dtd = Buffer.from(
      '<!DOCTYPE coverage SYSTEM "http://cobertura.sourceforge.net/xml/coverage-04.dtd"><coverage lines-valid="4" lines-covered="3"/>',
    );
    expect((await readBytes('cobertura', dtd)).coverage).toMatchObject({ lines: { covered: 3, total: 4 } });
  });

  test('characters by number and by name are read', async () => {
    const content = await readBytes('junit', suite('<failure message="&lt;&#97;&#x62;&amp;"/>'));
    expect(content.tests?.failures).toMatchObject([{ message: '<ab&' }]);
  });

  test('another encoding is refused by its name', async () => {
    expect(await reason(Buffer.from('<?xml version="1.0" encoding="UTF-16"?><testsuite/>'))).toBe(
      'is written in UTF-16; only UTF-8 and Latin-1 are read',
    );
  });

  test('another document is refused', async () => {
    expect(await reason(Buffer.from('<html><body/></html>'))).toMatch(/^is another document: its root is <html>/);
    expect(await reason(Buffer.from('<testsuite><testcase></testsuite>'))).toMatch(/^is not well-formed XML/);
    expect(await reason(Buffer.from('<testsuite/><testsuite/>'))).toMatch(/^is not well-formed XML/);
  });

  test('an attribute without end is refused', async () => {
    expect(await reason(Buffer.from(`<testsuite name="${'x'.repeat(2 ** 20)}"/>`))).toMatch(/buffer|attrib/i);
  });

  test('a suite that failed around its tests counts', async () => {
    const { tests } = await readBytes(
      'junit',
      Buffer.from('<testsuites><testsuite name="s" errors="1" failures="0"/></testsuites>'),
    );
    expect(tests).toMatchObject({ total: 1, errored: 1 });
  });
});

describe('JSON', () => {
  test('names of prototypes are data', async () => {
    const bytes = Buffer.from(
      '[{"__proto__":{"polluted":1},"RuleID":"r","Description":"d","File":"__proto__","StartLine":1,"constructor":{"prototype":{"polluted":1}}}]',
    );
    expect((await readBytes('gitleaks', bytes)).findings).toMatchObject([{ rule: 'r', file: '__proto__' }]);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  test('where a value is of another form is said', async () => {
    const bytes = Buffer.from('{"errors":[],"metrics":{"a.py":{"loc":1}},"results":[{"test_id":5}]}');
    const result = await attempt('bandit', bytes);
    expect(result).toMatchObject({
      message: expect.stringMatching(/^has a value of another form/),
      place: 'results[0].test_id',
    });
  });

  test('one entry that is too large is refused', async () => {
    const message = `{"ruleId":"r","severity":2,"message":"m","suppressions":[${'{},'.repeat(30_000)}{}]}`;
    const bytes = Buffer.from(`[{"filePath":"a.js","messages":[${message}]}]`);
    expect(await attempt('eslint', bytes)).toMatchObject({ message: 'has one entry that is too large' });
  });
});

describe('paths in reports', () => {
  const flake8 = (file: string): Buffer => Buffer.from(`${file}:1:1: E501 too long\n1\n`);

  test.each([
    ['../../etc/passwd', 'which lies outside of the repository'],
    ['a/../../x', 'which lies outside of the repository'],
    ['..\\..\\x', 'which lies outside of the repository'],
    ['a\u001b[2Jb', 'which is no path'],
  ])('%j ends the reading', async (file, what) => {
    expect(await attempt('flake8', flake8(file))).toMatchObject({ message: expect.stringContaining(what) });
  });

  test('are shown from the root of the repository', async () => {
    const read = async (file: string) => (await readBytes('flake8', flake8(file))).findings[0]?.file;
    expect(await read('./a/b.py')).toBe('a/b.py');
    expect(await read('/checkout/a.py')).toBe('a.py');
    expect(await read('/checkout/../etc/passwd')).toBe('/etc/passwd');
    expect(await read('/checkout2/a.py')).toBe('/checkout2/a.py');
  });

  test('move with their lines, and are told apart when several are alike', async () => {
    const of = async (...lines: string[]) =>
      (await readBytes('flake8', Buffer.from(`${lines.join('\n')}\n${lines.length}\n`))).findings.map(
        ({ fingerprint }) => fingerprint,
      );
    const one = 'a.py:10:1: E501 line too long (130 > 120 characters)';
    const moved = 'a.py:97:5: E501 line too long (131 > 120 characters)';
    expect(await of(one)).toEqual(await of(moved));
    const two = await of(one, moved);
    expect(new Set(two).size).toBe(2);
    expect(two).toContain((await of(one))[0]);
    expect(await of(one)).not.toEqual(await of(one.replace('a.py', 'b.py')));
    expect(await of(one)).not.toEqual(await of(one.replace('E501', 'E502')));
  });
});

describe('files', () => {
  let root: string;
  const good = '<testsuite name="s"><testcase name="t"/></testsuite>';
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'slipway-reports-'));
    writeFileSync(join(root, 'junit.xml'), good);
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  const read = (path: string, kind: ReportKind = 'junit'): Promise<Report> =>
    readReport({ root }, { kind, path, base: '.' });
  const reason = async (path: string): Promise<string> => {
    const report = await read(path);
    expect(report).toMatchObject({
      state: 'errored',
      problem: { remedy: expect.stringMatching(/\.$/), place: expect.stringContaining(path) },
    });
    return report.state === 'errored' ? report.problem.reason : '';
  };

  test('a plain one is read', async () => {
    expect(await read('junit.xml')).toMatchObject({ state: 'read', tests: { total: 1 } });
  });

  test('none but a plain one of the folder is', async () => {
    writeFileSync(join(root, 'empty.xml'), '');
    symlinkSync('/etc/passwd', join(root, 'link.xml'));
    symlinkSync('/etc', join(root, 'folder'));
    symlinkSync('nowhere', join(root, 'broken.xml'));
    symlinkSync('loop.xml', join(root, 'loop.xml'));
    mkdirSync(join(root, 'directory.xml'));
    execFileSync('mkfifo', [join(root, 'pipe.xml')]);
    linkSync(join(root, 'junit.xml'), join(root, 'second.xml'));
    writeFileSync(join(root, 'huge.xml'), good);
    truncateSync(join(root, 'huge.xml'), 2 ** 30);
    expect(await reason('missing.xml')).toBe('is not there');
    expect(await reason('empty.xml')).toBe('is empty');
    expect(await reason('link.xml')).toBe('is a link that leads out of the repository');
    expect(await reason('folder/passwd')).toBe('is a link that leads out of the repository');
    expect(await reason('../../../../../../etc/passwd')).toBe('is a link that leads out of the repository');
    expect(await reason('broken.xml')).toBe('is not there');
    expect(await reason('loop.xml')).toBe('cannot be read (ELOOP)');
    expect(await reason('directory.xml')).toBe('is no plain file');
    expect(await reason('pipe.xml')).toBe('is no plain file');
    expect(await reason('second.xml')).toBe('is a second name of another file');
    expect(await reason('huge.xml')).toBe('is larger than the 512 MiB that are read');
  });

  test('a link that stays inside is followed', async () => {
    symlinkSync('junit.xml', join(root, 'inside.xml'));
    expect(await read('inside.xml')).toMatchObject({ state: 'read' });
  });

  test('a pattern finds files in order, and none that it does not name', async () => {
    for (const name of ['out/b.xml', 'out/a.xml', 'out/deep/c.xml', '.git/d.xml', 'out/e.json']) {
      mkdirSync(join(root, name, '..'), { recursive: true });
      writeFileSync(join(root, name), good);
    }
    symlinkSync('/etc', join(root, 'out/etc'));
    expect(await filesOf(root, 'out/*.xml')).toEqual(['out/a.xml', 'out/b.xml']);
    expect(await filesOf(root, '**/*.xml')).toEqual(['junit.xml', 'out/a.xml', 'out/b.xml', 'out/deep/c.xml']);
    expect(await filesOf(root, 'out/{a,b}.xml')).toEqual(['out/a.xml', 'out/b.xml']);
    expect(await readReports({ root }, { kind: 'junit', path: 'none/*.xml', base: '.' })).toMatchObject([
      { state: 'errored', path: 'none/*.xml', problem: { reason: 'is not there' } },
    ]);
    await expect(filesOf(root, '../*')).rejects.toThrow('is a pattern that leads out of the repository');
  });

  test('a pattern of many stars ends for a name that is made for it', async () => {
    writeFileSync(join(root, 'a'.repeat(250)), good);
    expect(await filesOf(root, `${'*a'.repeat(7)}*b`)).toEqual([]);
    expect(await filesOf(root, `${'*a'.repeat(7)}*`)).toEqual(['a'.repeat(250)]);
  });

  test('too many are refused instead of some of them being left out', async () => {
    for (let index = 0; index <= 200; index += 1) writeFileSync(join(root, `${index}.json`), '[]');
    expect(await readReports({ root }, { kind: 'gitleaks', path: '*.json', base: '.' })).toMatchObject([
      { state: 'errored', problem: { reason: 'is a pattern that more than 200 files match' } },
    ]);
  });

  test('one that was there before is recognised, also with its times set back', async () => {
    const before = await markReports(root, ['*.xml']);
    const again = () => readReport({ root, before }, { kind: 'junit', path: 'junit.xml', base: '.' });
    expect(await again()).toMatchObject({
      state: 'errored',
      problem: { reason: expect.stringContaining('was there before') },
    });
    execFileSync('sh', ['-c', `cp -p junit.xml same.xml && cat same.xml > junit.xml && touch -r same.xml junit.xml`], {
      cwd: root,
    });
    expect(await again()).toMatchObject({ state: 'read' });
  });

  test('reading ends with its signal', async () => {
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(readReport({ root }, { kind: 'junit', path: 'junit.xml', base: '.' }, signal)).rejects.toThrow(
      'enough',
    );
  });
});

describe('memory', () => {
  const script = join(import.meta.dirname, 'read-large.ts');
  const read = async (...args: string[]): Promise<Record<string, unknown>> => {
    const { stdout } = await run(process.execPath, ['--max-old-space-size=48', script, ...args], { timeout: 240_000 });
    return JSON.parse(stdout) as Record<string, unknown>;
  };

  test.each([
    ['junit', '200'],
    ['sarif', '200'],
    ['flake8', '200'],
    ['cobertura', '60'],
    ['lcov', '60'],
  ])(
    '%s: %s MB are read within a heap of 48 MB',
    async (kind, megabytes) => {
      const result = await read(kind, megabytes);
      expect(result['lookedAt']).toMatch(/\d/);
      if (kind === 'sarif') expect(result).toMatchObject({ kept: 2_000 });
      if (kind === 'junit') expect(result).toMatchObject({ failures: 100 });
    },
    300_000,
  );

  test.each(['junit', 'sarif'])(
    '%s: one text of 200 MB is passed over',
    async (kind) => {
      expect(await read(kind, '200', 'endless')).toHaveProperty('lookedAt');
    },
    300_000,
  );
});
