import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import type { LocalContext } from '../../src/local/context.ts';
import { announce } from '../../src/local/context.ts';
import { installDebianPackages } from '../../src/local/packages.ts';
import { findProgram } from '../../src/local/programs.ts';
import { withLock } from '../../src/local/state.ts';

const run = promisify(execFile);
const root = resolve(import.meta.dirname, '../..');

/** As the public images of Node and PostgreSQL are built on; its PostgreSQL is the one that the file asks for. */
const debian = 'trixie';
/** Major version of its PostgreSQL. */
export const debianPostgres = 17;
/** What is installed in images: what our Dockerfile names, and the server of `postgres:17`. With everything they need. */
const packages = [
  ...['git', 'openssh-client', 'util-linux', 'postgresql-common'],
  ...[`postgresql-client-${String(debianPostgres)}`, `postgresql-${String(debianPostgres)}`],
];

/** What images are made of where there is no public registry. */
export interface ComposeSupplies {
  /** A minimal Debian as a tar file. */
  readonly debian: string;
  /** Folder of Debian packages with their index, as apt takes it behind `file:`. */
  readonly packages: string;
  /** Cache of npm with everything that `npm ci` of our own lock file asks for. */
  readonly npmCache: string;
  /** Folder `schema` of Temporal's server, which its image of tools has beside the tool. */
  readonly temporalSchema: string;
}

/**
 * Fetches what is not in the cache yet, from the registries of Debian and npm: two to five minutes and 420 MB, once.
 *
 * @param postgresClients - major versions of PostgreSQL's client: Debian's own, and that of this machine's Debian.
 * @throws Error - a registry does not answer, or this machine is no Debian.
 */
export async function ensureComposeSupplies(
  context: LocalContext,
  postgresClients: readonly number[],
): Promise<ComposeSupplies> {
  const folder = join(context.cacheFolder, 'compose');
  mkdirSync(folder, { recursive: true });
  return await withLock(join(folder, 'supplies.lock'), async () => ({
    ...(await ensureDebian(context, folder, postgresClients)),
    npmCache: await ensureNpmCache(context, folder),
    temporalSchema: await ensureTemporalSchema(context, folder),
  }));
}

async function ensureDebian(
  context: LocalContext,
  folder: string,
  postgresClients: readonly number[],
): Promise<Pick<ComposeSupplies, 'debian' | 'packages'>> {
  const ofThisMachine = postgresClients
    .filter((major) => major !== debianPostgres)
    .map((major) => `postgresql-client-${String(major)}`);
  const key = createHash('sha256')
    .update(JSON.stringify([debian, packages, ofThisMachine]))
    .digest('hex')
    .slice(0, 8);
  const ready = join(folder, `debian-${key}`);
  const supplies = { debian: join(ready, 'debian.tar'), packages: join(ready, 'packages') };
  if (existsSync(ready)) return supplies;
  if (findProgram(context, 'mmdebstrap') === undefined) {
    await installDebianPackages(context, 'compose', ['mmdebstrap', 'debian-archive-keyring']);
  }
  const part = `${ready}.part`;
  rmSync(part, { recursive: true, force: true });
  mkdirSync(join(part, 'packages'), { recursive: true });
  await announce(context, 'compose', `fetching a Debian ${debian} (two to five minutes, once)`, () =>
    run(
      'mmdebstrap',
      [
        ...['--quiet', '--variant=minbase', '--include=ca-certificates'],
        `--customize-hook=chroot "$1" apt-get install -y -qq --download-only --no-install-recommends ${packages.join(' ')}`,
        `--customize-hook=cp "$1"/var/cache/apt/archives/*.deb '${join(part, 'packages')}/'`,
        ...[debian, join(part, 'debian.tar')],
      ],
      { timeout: 900_000, maxBuffer: 64 * 1024 * 1024 },
    ),
  );
  if (ofThisMachine.length > 0) {
    // An earlier Debian's, which a later one has the libraries for; its own has one version alone.
    await run('apt-get', ['--quiet', 'download', ...ofThisMachine], {
      cwd: join(part, 'packages'),
      timeout: 120_000,
    });
  }
  await indexPackages(join(part, 'packages'));
  renameSync(part, ready);
  return supplies;
}

/** The index of a folder of packages, as apt reads it. */
async function indexPackages(folder: string): Promise<void> {
  const entries: string[] = [];
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.deb'))) {
    const { stdout } = await run('dpkg-deb', ['--field', join(folder, file)], { maxBuffer: 4 * 1024 * 1024 });
    const content = readFileSync(join(folder, file));
    const sum = createHash('sha256').update(content).digest('hex');
    entries.push(`${stdout.trimEnd()}\nFilename: ./${file}\nSize: ${String(content.length)}\nSHA256: ${sum}\n`);
  }
  writeFileSync(join(folder, 'Packages'), entries.join('\n'));
}

async function ensureNpmCache(context: LocalContext, folder: string): Promise<string> {
  const files = ['package.json', 'package-lock.json', '.npmrc'];
  const key = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex')
    .slice(0, 8);
  const ready = join(folder, `npm-${key}`);
  if (existsSync(ready)) return ready;
  // Of an earlier lock file; what both ask for is not fetched again.
  const earlier = readdirSync(folder).filter((name) => /^npm-[0-9a-f]{8}$/.test(name));
  const part = `${ready}.part`;
  const project = `${ready}.project`;
  for (const each of [part, project]) rmSync(each, { recursive: true, force: true });
  const [first] = earlier;
  if (first !== undefined) renameSync(join(folder, first), part);
  mkdirSync(project);
  for (const file of files) cpSync(join(root, file), join(project, file));
  try {
    await announce(context, 'compose', 'fetching the modules of Slipway (a minute, once for each lock file)', () =>
      run(
        process.execPath,
        [
          join(root, 'node_modules/npm/bin/npm-cli.js'),
          ...['ci', '--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', '--cache', part],
        ],
        { cwd: project, timeout: 600_000, maxBuffer: 16 * 1024 * 1024 },
      ),
    );
  } finally {
    rmSync(project, { recursive: true, force: true });
  }
  rmSync(join(part, '_logs'), { recursive: true, force: true });
  renameSync(part, ready);
  return ready;
}

/** From the module of the server that is built. */
async function ensureTemporalSchema(context: LocalContext, folder: string): Promise<string> {
  const version = 'v1.31.0';
  const ready = join(folder, `temporal-schema-${version}`);
  if (existsSync(ready)) return ready;
  const go = findProgram(context, 'go');
  if (go === undefined) throw new Error('this machine has no Go');
  const { stdout } = await run(go, ['mod', 'download', '-json', `go.temporal.io/server@${version}`], {
    timeout: 300_000,
    maxBuffer: 4 * 1024 * 1024,
  });
  const { Dir: module } = JSON.parse(stdout) as { readonly Dir: string };
  const part = `${ready}.part`;
  rmSync(part, { recursive: true, force: true });
  cpSync(join(module, 'schema'), part, { recursive: true });
  renameSync(part, ready);
  return ready;
}
