import { chmodSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { type LocalContext, announce, createLocalContext, socketFolder } from '../../../src/local/context.ts';
import { installDebianPackages, installGoProgram } from '../../../src/local/packages.ts';
import { choosePort } from '../../../src/local/ports.ts';
import { findProgram, obtain } from '../../../src/local/programs.ts';
import { componentLines, createReporter } from '../../../src/local/report.ts';
import { until } from '../../support/until.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'slipway-programs-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function contextWith(env: Record<string, string>, onProgress?: Parameters<typeof createLocalContext>[0]): LocalContext {
  return createLocalContext({
    stateFolder: join(folder, 'state'),
    cacheFolder: join(folder, 'cache'),
    env,
    ...onProgress,
  });
}

function program(path: string, text: string): void {
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, text);
  chmodSync(path, 0o755);
}

describe('findProgram', () => {
  test('prefers what was built into the cache to PATH', () => {
    const context = contextWith({ PATH: join(folder, 'path') });
    program(join(folder, 'path', 'tool'), 'x');
    expect(findProgram(context, 'tool')).toBe(join(folder, 'path', 'tool'));
    program(join(folder, 'cache', 'bin', 'tool'), 'x');
    expect(findProgram(context, 'tool')).toBe(join(folder, 'cache', 'bin', 'tool'));
  });

  test('takes no folder, no file that may not be executed, and nothing from the folder it stands in', () => {
    const context = contextWith({ PATH: `.:${join(folder, 'path')}` });
    mkdirSync(join(folder, 'path', 'tool'), { recursive: true });
    writeFileSync(join(folder, 'path', 'other'), 'x', { mode: 0o644 });
    expect(findProgram(context, 'tool')).toBeUndefined();
    expect(findProgram(context, 'other')).toBeUndefined();
    expect(findProgram(context, 'package.json')).toBeUndefined();
  });
});

describe('obtain', () => {
  test('takes the first way that leads there', async () => {
    const ways = [
      { what: 'luck', take: () => undefined },
      { what: 'work', take: () => Promise.resolve('done') },
      { what: 'despair', take: () => Promise.reject(new Error('never asked')) },
    ];
    await expect(obtain('It', ways, 'Advice.')).resolves.toBe('done');
  });

  test('names every way with its reason, and what to do', async () => {
    const ways = [
      { what: 'luck', take: () => undefined },
      { what: 'work', take: () => Promise.reject(new Error('too hard')) },
    ];
    await expect(obtain('It', ways, 'Buy one.')).rejects.toMatchObject({
      type: 'ToolMissing',
      message: 'It is missing and could not be had. Tried: luck; work (too hard). Buy one.',
    });
  });
});

describe('installing', () => {
  test('by Go keeps what the compiler says last', async () => {
    program(join(folder, 'path', 'go'), '#!/bin/sh\necho compiling >&2\necho "no such module" >&2\nexit 1\n');
    const context = contextWith({ PATH: `${join(folder, 'path')}:/usr/bin:/bin` });
    await expect(installGoProgram(context, 'x', 'example.org/tool@v1')).rejects.toThrow(
      'go install example.org/tool@v1 failed: compiling | no such module',
    );
  });

  test('by Go says that it was ended for its time, for what it said last is no complaint then', async () => {
    program(join(folder, 'path', 'go'), '#!/bin/sh\necho example.org/part >&2\nexec sleep 60\n');
    const context = contextWith({ PATH: `${join(folder, 'path')}:/usr/bin:/bin` });
    await expect(installGoProgram(context, 'x', 'example.org/tool@v1', { timeoutMs: 1_200 })).rejects.toThrow(
      'go install example.org/tool@v1 was ended, for it was not done after 1.2 s. It said last: example.org/part',
    );
  });

  test('by Go puts the program into the cache, once', async () => {
    const script =
      '#!/bin/sh\necho run >> "$GOBIN/../count"\nmkdir -p "$GOBIN"\necho x > "$GOBIN/tool"\nmkdir -p "$GOPATH/pkg" "$GOCACHE/00"\necho "$GOFLAGS" > "$GOBIN/../flags"\nchmod 755 "$GOBIN/tool"\n';
    program(join(folder, 'path', 'go'), script);
    mkdirSync(join(folder, 'cache', 'bin'), { recursive: true });
    const context = contextWith({ PATH: `${join(folder, 'path')}:/usr/bin:/bin` });
    const install = (): Promise<string> => installGoProgram(context, 'x', 'example.org/cmd/tool@v1');
    const paths = await Promise.all([install(), install()]);
    expect(paths).toEqual([join(folder, 'cache/bin/tool'), join(folder, 'cache/bin/tool')]);
    expect(findProgram(context, 'tool')).toBe(paths[0]);
    // What was fetched and compiled for it is gone again, and nothing of it was anywhere else.
    expect(readFileSync(join(folder, 'cache/flags'), 'utf8')).toBe('-modcacherw\n');
    expect(readdirSync(join(folder, 'cache')).sort()).toEqual(['bin', 'count', 'flags']);
  });

  test('by Go is built where its module lies, where that replaces others; into a cache that is empty', async () => {
    const script = [
      '#!/bin/sh',
      'case "$1" in',
      '  mod) mkdir -p "$GOPATH/module"; echo "{\\"Dir\\": \\"$GOPATH/module\\"}";;',
      '  build) cd "$3" || exit 1; for last; do :; done; test "$last" = ./cmd/tool || exit 1',
      '    while [ "$1" != -o ]; do shift; done; echo built > "$2"; chmod 755 "$2";;',
      '  *) exit 1;;',
      'esac',
    ];
    program(join(folder, 'path', 'go'), `${script.join('\n')}\n`);
    const context = contextWith({ PATH: `${join(folder, 'path')}:/usr/bin:/bin` });
    const path = await installGoProgram(context, 'x', 'example.org/own/cmd/tool@v1', { root: 'example.org/own' });
    expect(path).toBe(join(folder, 'cache/bin/tool'));
    expect(readFileSync(path, 'utf8')).toBe('built\n');
    expect(readdirSync(join(folder, 'cache'))).toEqual(['bin']);
  });

  test('by apt asks for the lists first and shows its complaint', async () => {
    const script =
      '#!/bin/sh\ncase "$*" in *update*) exit 0;; esac\necho "E: Unable to locate package $7" >&2\nexit 100\n';
    program(join(folder, 'cache', 'bin', 'apt-get'), script);
    program(join(folder, 'cache', 'bin', 'sudo'), '#!/bin/sh\nshift\nexec "$@"\n');
    const said: string[] = [];
    const context = contextWith({ PATH: '/usr/bin:/bin' }, { onProgress: ({ message }) => said.push(message) });
    await expect(installDebianPackages(context, 'x', ['no-such-thing'])).rejects.toThrow(
      'installing no-such-thing failed: E: Unable to locate package',
    );
    expect(said).toEqual(['reading the package lists', 'installing no-such-thing']);
  });
});

describe('ports', () => {
  test('the next free one stands in for one that is taken', async () => {
    const squatter = createServer().listen(0, '127.0.0.1');
    await until(() => squatter.listening);
    const { port } = squatter.address() as { port: number };
    const context = createLocalContext({ stateFolder: folder, preferredPorts: { thing: port } });
    try {
      const chosen = await choosePort(context, 'thing', 'thing');
      expect(chosen).toBeGreaterThan(port);
      await expect(choosePort(context, 'thing', 'thing', new Set([chosen]))).resolves.toBeGreaterThan(chosen);
    } finally {
      squatter.close();
    }
  });
});

describe('socketFolder', () => {
  test('is the wanted one as long as a socket in it can be bound', () => {
    const context = contextWith({});
    expect(socketFolder(context, join(folder, 'x'), 'a.sock')).toBe(join(folder, 'x'));
  });

  test('is a short one of this installation alone where the path is too long', () => {
    const wanted = join(folder, 'x'.repeat(100));
    const short = socketFolder(contextWith({}), wanted, 'a.sock');
    const other = socketFolder(createLocalContext({ stateFolder: join(folder, 'other') }), wanted, 'a.sock');
    try {
      expect(short.length).toBeLessThan(60);
      expect(other).not.toBe(short);
    } finally {
      for (const path of [short, other]) rmSync(join(path, '..'), { recursive: true });
    }
  });
});

describe('progress', () => {
  test('is reported at the beginning and again while nothing seems to happen', async () => {
    const lines: string[] = [];
    const reporter = createReporter((line) => lines.push(line));
    const context = contextWith({}, { onProgress: reporter.report });
    await announce(context, 'tool', 'building', async (detail) => {
      detail('example.org/package');
      await until(() => lines.length > 1, { timeoutMs: 7_000, what: 'the second line' });
    });
    expect(lines).toEqual(['tool: building', 'tool: building: example.org/package (5 s)']);
  });

  test('comes less and less often, but never stays away longer than 30 s', () => {
    const lines: string[] = [];
    const { report } = createReporter((line) => lines.push(line));
    for (let seconds = 0; seconds <= 150; seconds += 5) {
      report({ component: 'tool', message: 'building', elapsedMs: seconds * 1_000 });
    }
    report({ component: 'tool', message: 'starting', elapsedMs: 0 });
    report({ component: 'other', message: 'building', elapsedMs: 5_000 });
    const times = [
      '',
      ' (5 s)',
      ' (10 s)',
      ' (15 s)',
      ' (25 s)',
      ' (35 s)',
      ' (50 s)',
      ' (70 s)',
      ' (100 s)',
      ' (130 s)',
    ];
    expect(lines).toEqual([...times.map((time) => `tool: building${time}`), 'tool: starting', 'other: building (5 s)']);
  });

  test('ends in one aligned line for each component', () => {
    const handles = [
      { name: 'store', how: 'started', version: '18.4', address: '127.0.0.1:5440', logFile: '/log/store' },
      { name: 'docker', how: 'found', version: '20.10.24', address: 'unix:///run/docker.sock' },
    ] as const;
    expect(componentLines(handles)).toEqual([
      'store   started  18.4      127.0.0.1:5440           /log/store',
      'docker  found    20.10.24  unix:///run/docker.sock',
    ]);
  });
});
