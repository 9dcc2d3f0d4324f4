import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { ProviderError } from '../../../src/domain/failures.ts';
import {
  type ProgramFolder,
  chooseProgramFolder,
  findProgramFolder,
  listProgramFolders,
} from '../../../src/providers/backups/postgres-programs.ts';

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'slipway-programs-'));
});
afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

/** @returns the folder, with programs that answer `--version` so. */
function programs(folder: string, says: string, names: readonly string[] = ['pg_dump', 'pg_restore']): string {
  const path = join(root, folder);
  mkdirSync(path, { recursive: true });
  for (const name of names) writeFileSync(join(path, name), `#!/bin/sh\necho '${says}'\n`, { mode: 0o755 });
  return path;
}

const places = (...path: string[]) => ({ root, path: path.join(delimiter) });

describe('chooseProgramFolder', () => {
  const all: readonly ProgramFolder[] = [18, 16, null, 13, 17].map((major) => ({ folder: `/${String(major)}`, major }));

  test.each([
    ['the same', 16, '/16'],
    ['the next newer one', 15, '/16'],
    ['never an older one', 19, undefined],
    ['the oldest there is, for one that is older still', 9, '/13'],
  ])('%s', (_what, server, wanted) => {
    expect(chooseProgramFolder(all, server)?.folder).toBe(wanted);
  });

  test('the first of two of one version', () => {
    const two = [
      { folder: '/a', major: 16 },
      { folder: '/b', major: 16 },
    ];
    expect(chooseProgramFolder(two, 15)?.folder).toBe('/a');
  });

  test('none that does not say its version', () => {
    expect(chooseProgramFolder([{ folder: '/a', major: null }], 15)).toBeUndefined();
  });
});

describe('listProgramFolders', () => {
  test('has those on PATH by what they say, then those of packages by the names of their folders', async () => {
    const own = programs('opt/postgresql/bin', 'pg_dump (PostgreSQL) 16.4');
    const beta = programs('opt/beta', 'pg_dump (PostgreSQL) 19beta1');
    const strange = programs('opt/strange', 'hello');
    const broken = programs('opt/broken', '');
    writeFileSync(join(broken, 'pg_dump'), '\x7fELF of another machine');
    programs('usr/lib/postgresql/9/bin', '');
    programs('usr/lib/postgresql/15/bin', '');
    programs('usr/pgsql-14/bin', '');
    programs('usr/share/bin', '');
    expect(await listProgramFolders(places(own, join(root, 'not/there'), beta, strange, broken, own))).toEqual([
      { folder: own, major: 16 },
      { folder: beta, major: 19 },
      { folder: strange, major: null },
      { folder: broken, major: null },
      { folder: join(root, 'usr/lib/postgresql/15/bin'), major: 15 },
      { folder: join(root, 'usr/lib/postgresql/9/bin'), major: 9 },
      { folder: join(root, 'usr/pgsql-14/bin'), major: 14 },
    ]);
  });

  test('leaves out what is half there, cannot be run, or is named from wherever the worker happens to be', async () => {
    programs('usr/lib/postgresql/16/bin', '', ['pg_dump']);
    const locked = programs('usr/lib/postgresql/17/bin', '');
    chmodSync(join(locked, 'pg_restore'), 0o644);
    mkdirSync(join(root, 'usr/lib/postgresql/18'), { recursive: true });
    expect(await listProgramFolders(places('', '.', 'bin'))).toEqual([]);
  });

  test("leaves out Debian's wrapper, which chooses a version without knowing the server", async () => {
    const bin = join(root, 'usr/bin');
    mkdirSync(bin, { recursive: true });
    programs('usr/share/postgresql-common', 'pg_dump (PostgreSQL) 17.5', ['pg_wrapper']);
    for (const name of ['pg_dump', 'pg_restore']) symlinkSync('../share/postgresql-common/pg_wrapper', join(bin, name));
    const debian = programs('usr/lib/postgresql/15/bin', '');
    expect(await listProgramFolders(places(bin))).toEqual([{ folder: debian, major: 15 }]);
  });
});

describe('findProgramFolder', () => {
  async function refused(serverMajor: number, ...path: string[]): Promise<ProviderError> {
    return await findProgramFolder(serverMajor, 'database shop at db:5432', places(...path)).then(
      (folder) => {
        throw new Error(`it found ${folder}`);
      },
      (error: unknown) => error as ProviderError,
    );
  }

  test('takes what fits', async () => {
    programs('usr/lib/postgresql/17/bin', '');
    const same = programs('usr/lib/postgresql/15/bin', '');
    const onPath = programs('opt/16', 'pg_dump (PostgreSQL) 16.4');
    expect(await findProgramFolder(15, 'database', places(onPath))).toBe(same);
    expect(await findProgramFolder(14, 'database', places(onPath))).toBe(same);
    expect(await findProgramFolder(16, 'database', places(onPath))).toBe(onPath);
  });

  test('says where none fits which server it is, what was found and what helps', async () => {
    const older = programs('usr/lib/postgresql/15/bin', '');
    const strange = programs('opt/strange', 'hello');
    const error = await refused(18, strange);
    expect(error).toMatchObject({ type: 'ToolMissing', retryable: false, details: { wanted: 18 } });
    expect(error.message).toBe(
      `database shop at db:5432 runs PostgreSQL 18, and this worker has no \`pg_dump\` and \`pg_restore\` of 18 or later: found an unknown version in ${strange}, 15 in ${older}. Install the client of the server's version on the worker (Debian: postgresql-client-16 for 16; in Slipway's own image: SLIPWAY_POSTGRES_CLIENTS, and build it again), or name the folder of its programs in \`database.clientBin\` of project.yaml.`,
    );
  });

  test('says that there is none at all', async () => {
    expect((await refused(15)).message).toContain('of 15 or later: found none. Install');
  });
});
