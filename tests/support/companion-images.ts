import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { createLocalContext } from '../../src/local/context.ts';
import { type ImageProgram, ensureImage } from '../../src/local/images.ts';
import { installDebianPackages } from '../../src/local/packages.ts';
import { findProgram } from '../../src/local/programs.ts';
import { components, testStateFolder } from './components.ts';

/** Images of what runs beside the steps of a test, made of this machine's own Debian packages: nothing is pulled. */
export interface CompanionImage {
  readonly image: string;
  /** Arguments that make it serve. */
  readonly command: readonly string[];
  /** Ends with 0 as soon as it serves. */
  readonly check: readonly string[];
}

/** Redis, as its own image is used: it listens on 6379. */
export async function redisImage(): Promise<CompanionImage> {
  const context = createLocalContext({ stateFolder: testStateFolder });
  if (findProgram(context, 'redis-server') === undefined)
    await installDebianPackages(context, 'redis', ['redis-server']);
  const image = await make('redis', '7', ['redis-server', 'redis-cli']);
  return {
    image,
    command: ['redis-server', '--save', '', '--protected-mode', 'no', '--bind', '0.0.0.0'],
    check: ['redis-cli', 'ping'],
  };
}

/** PostgreSQL, which begins as root and goes on as another user, as its own image does: it listens on 5432. */
export async function postgresImage(): Promise<CompanionImage> {
  const context = createLocalContext({ stateFolder: testStateFolder });
  if (debianPostgres() === undefined) await installDebianPackages(context, 'postgresql', ['postgresql']);
  const version = debianPostgres() ?? '';
  const lib = `/usr/lib/postgresql/${version}`;
  const share = `/usr/share/postgresql/${version}`;
  const files = [
    ...['initdb', 'postgres', 'pg_isready', 'psql'].map((name) => `${lib}/bin/${name}`),
    ...['plpgsql', 'dict_snowball'].map((name) => `${lib}/lib/${name}.so`),
    ...filesBelow(share).filter((path) => !path.includes('/man/')),
  ];
  const image = await make(
    'postgres',
    version,
    [],
    files.map((path) => ({ from: path, to: path })),
  );
  const start = `${lib}/bin/initdb -D /tmp/data -A trust -U postgres && echo "host all all all trust" >> /tmp/data/pg_hba.conf && exec ${lib}/bin/postgres -D /tmp/data -k /tmp -h 0.0.0.0`;
  return {
    image,
    command: ['su', '-s', '/bin/sh', 'node', '-c', start],
    check: [`${lib}/bin/pg_isready`, '-h', '127.0.0.1'],
  };
}

async function make(
  name: string,
  tag: string,
  programs: readonly string[],
  files: readonly ImageProgram[] = [],
): Promise<string> {
  const { docker } = await components('docker');
  const context = createLocalContext({ stateFolder: testStateFolder });
  const find = (program: string): ImageProgram => {
    const from = findProgram(context, program);
    if (from === undefined) throw new Error(`this machine has no ${program}`);
    return { from, to: `/usr/bin/${program}` };
  };
  const shell = find('busybox');
  const { image } = await ensureImage(context, docker as never, `test-${name}`, {}, () =>
    Promise.resolve({
      tag,
      programs: [
        ...programs.map(find),
        ...files,
        {
          ...shell,
          links: ['sh', 'su', 'nc', 'printf', 'sleep', 'cat', 'echo', 'mkdir', 'ls'].map((tool) => `/bin/${tool}`),
        },
      ],
      env: {},
      cmd: ['sh'],
    }),
  );
  return image;
}

function debianPostgres(): string | undefined {
  try {
    return readdirSync('/usr/share/postgresql').find((name) => /^\d+$/.test(name));
  } catch {
    return undefined;
  }
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((each) => each.isFile())
    .map((each) => join(each.parentPath, each.name));
}
