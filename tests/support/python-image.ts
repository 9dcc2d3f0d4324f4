import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { runTool } from '../../src/effects/daemon.ts';
import { type LocalContext, announce, createLocalContext } from '../../src/local/context.ts';
import { ensureImage } from '../../src/local/images.ts';
import { installDebianPackages } from '../../src/local/packages.ts';
import { findProgram, lastLines } from '../../src/local/programs.ts';
import { withLock } from '../../src/local/state.ts';
import { components, testStateFolder } from './components.ts';

const source = join(import.meta.dirname, '../../examples/python-service/ci');
/** Raised whenever an image made by older code would no longer do. */
const recipeVersion = 2;
/** Some forty packages from an index that may be far away; judgement. */
const installTimeoutMs = 10 * 60_000;

/** The Python of this machine, and where its parts are. */
interface Python {
  readonly executable: string;
  /** Such as `3.11`. */
  readonly version: string;
  readonly library: string;
  /** Its shared library; null where it is part of the program. */
  readonly shared: string | null;
}

/**
 * The image of `examples/python-service/ci/Dockerfile` without a public registry: this machine's Python, and the tools and wheels from PyPI, in the
 * versions that the example names. They are fetched once and kept in the person's cache.
 *
 * @returns its name on the engine.
 */
export async function pythonImage(): Promise<string> {
  const { docker } = await components('docker', 'toolsImage');
  const context = createLocalContext({
    stateFolder: testStateFolder,
    onProgress: ({ component, message }) => process.stderr.write(`${component}: ${message}\n`),
  });
  const python = await findPython(context);
  const { folder, tag } = await ensureTools(context, python);
  const shell = findProgram(context, 'busybox');
  if (shell === undefined) throw new Error('this machine has no busybox, although the image of the tools has one');
  const { image } = await ensureImage(context, docker as never, 'python-ci', {}, async () => ({
    tag,
    programs: [
      {
        from: python.executable,
        to: `/opt/python/bin/python${python.version}`,
        links: ['/opt/python/bin/python3', '/opt/tools/bin/python3', '/opt/tools/bin/python'],
      },
      ...(python.shared === null ? [] : [{ from: python.shared, to: `/opt/python/lib/${basename(python.shared)}` }]),
      { from: shell, to: '/bin/busybox', links: await appletsOf(context, shell) },
    ],
    folders: [
      { from: join(folder, 'library'), to: `/opt/python/lib/python${python.version}` },
      { from: join(folder, 'tools'), to: '/opt/tools', leaveOut: (path) => /^bin\/(?:python|activate)/i.test(path) },
      { from: join(folder, 'wheels'), to: '/opt/wheels' },
      { from: join(source, 'advisories'), to: '/opt/advisories' },
    ],
    env: { PATH: '/opt/tools/bin:/usr/bin:/bin', LD_LIBRARY_PATH: '/opt/python/lib', WHEELS: '/opt/wheels' },
    cmd: ['python'],
  }));
  return image;
}

/** Parts of the standard library that no tool takes: tests, windows, and what is only for building C. What was compiled is compiled again. */
const notNeeded =
  /^(?:site-packages|dist-packages|test|idlelib|tkinter|turtledemo|lib2to3|ensurepip|config-[^/]*)$|(?:^|\/)__pycache__$/;

async function findPython(context: LocalContext): Promise<Python> {
  for (let tried = 0; ; tried += 1) {
    const program = findProgram(context, 'python3');
    const python = program === undefined ? undefined : await describePython(context, program);
    if (python !== undefined) return python;
    if (tried > 0) throw new Error('this machine has no Python from 3.10 on that can make virtual environments');
    await installDebianPackages(context, 'python', ['python3', 'python3-venv']);
  }
}

async function describePython(context: LocalContext, program: string): Promise<Python | undefined> {
  const ask = `
import ensurepip, json, os, sys, sysconfig, venv
shared = os.path.join(sysconfig.get_config_var("LIBDIR") or "", sysconfig.get_config_var("INSTSONAME") or "")
assert sys.version_info >= (3, 10)
print(json.dumps({
    "executable": os.path.realpath(sys._base_executable),
    "version": sysconfig.get_python_version(),
    "library": sysconfig.get_path("stdlib"),
    "shared": shared if sysconfig.get_config_var("Py_ENABLE_SHARED") and os.path.isfile(shared) else None,
}))`;
  const { exitCode, stdout } = await runTool(program, ['-I', '-c', ask], { env: context.env, timeoutMs: 60_000 });
  return exitCode === 0 ? (JSON.parse(stdout) as Python) : undefined;
}

/** A virtual environment with the tools, the standard library, and the wheels: `tools`, `library` and `wheels` below the folder. */
async function ensureTools(
  context: LocalContext,
  python: Python,
): Promise<{ readonly folder: string; readonly tag: string }> {
  const advisories = readdirSync(join(source, 'advisories')).map((name) => join('advisories', name));
  const hash = createHash('sha256').update(JSON.stringify([recipeVersion, python]));
  for (const name of ['requirements.txt', 'wheels.txt', ...advisories]) hash.update(readFileSync(join(source, name)));
  const tag = hash.digest('hex').slice(0, 16);
  const folder = join(context.cacheFolder, 'python-ci', tag);
  await withLock(join(context.stateFolder, 'run', 'python-ci.lock'), async () => {
    if (existsSync(folder)) return;
    const part = `${folder}.part`;
    rmSync(part, { recursive: true, force: true });
    mkdirSync(part, { recursive: true });
    await announce(context, 'python-ci', 'fetching the tools of examples/python-service from PyPI', (detail) =>
      fetchTools(context, python, part, detail),
    );
    renameSync(part, folder);
  });
  return { folder, tag };
}

async function fetchTools(
  context: LocalContext,
  { executable, library }: Python,
  folder: string,
  onLine: (line: string) => void,
): Promise<void> {
  const run = async (program: string, ...args: readonly string[]): Promise<void> => {
    const { exitCode, stderr } = await runTool(program, args, {
      env: { ...context.env, PIP_DISABLE_PIP_VERSION_CHECK: '1' },
      timeoutMs: installTimeoutMs,
      onLine,
    });
    if (exitCode !== 0) throw new Error(`${program} ${args.join(' ')} failed: ${lastLines(stderr)}`);
  };
  const tools = join(folder, 'tools');
  const python = join(tools, 'bin/python3');
  await run(executable, '-m', 'venv', tools);
  await run(python, '-m', 'pip', 'install', '--quiet', '--no-compile', '-r', join(source, 'requirements.txt'));
  // One by one, for they are several versions of one package.
  for (const wheel of readFileSync(join(source, 'wheels.txt'), 'utf8').split('\n')) {
    if (wheel === '') continue;
    const options = ['--quiet', '--no-deps', '--only-binary', ':all:', '--dest', join(folder, 'wheels')];
    await run(python, '-m', 'pip', 'download', ...options, wheel);
  }
  cpSync(library, join(folder, 'library'), {
    recursive: true,
    dereference: true,
    filter: (path) => !notNeeded.test(relative(library, path)),
  });
  // Files of an image have no time of their own by which Python could know that what it made of them still holds, and steps cannot write there.
  // What does not compile is for another version of Python, and nobody takes it.
  const compile = [
    '-m',
    'compileall',
    '-f',
    '-q',
    '-q',
    '-j',
    '0',
    '--invalidation-mode',
    'unchecked-hash',
    '-s',
    folder,
  ];
  await runTool(python, [...compile, '-p', '/opt', join(folder, 'library'), join(tools, 'lib')], {
    env: context.env,
    timeoutMs: installTimeoutMs,
    onLine,
  });
  // In the image they lie elsewhere.
  writeFileSync(join(tools, 'pyvenv.cfg'), 'home = /opt/python/bin\ninclude-system-site-packages = false\n');
  for (const name of readdirSync(join(tools, 'bin'))) {
    const script = join(tools, 'bin', name);
    if (name.startsWith('python')) continue;
    const text = readFileSync(script, 'utf8');
    if (text.startsWith('#!')) writeFileSync(script, text.replace(/^#!.*/, '#!/opt/tools/bin/python3'));
  }
}

async function appletsOf(context: LocalContext, busybox: string): Promise<string[]> {
  const { stdout } = await runTool(busybox, ['--list-full'], { env: context.env, timeoutMs: 60_000 });
  return stdout
    .split('\n')
    .filter((path) => path !== '' && basename(path) !== 'busybox')
    .map((path) => `/${path}`);
}
