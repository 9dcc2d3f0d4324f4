import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runTool } from '../effects/daemon.ts';
import { type LocalContext, announce } from './context.ts';
import { findProgram, lastLines, runHelper } from './programs.ts';
import { withLock } from './state.ts';

const aptTimeoutMs = 10 * 60_000;
const goTimeoutMs = 15 * 60_000;

/** Where Debian asks whether a freshly installed service may start. */
const policyFile = '/usr/sbin/policy-rc.d';

/** Whether the package lists were read by this process already. */
let listsRead = false;

/**
 * Installs Debian packages, as root or through a `sudo` that asks for no password.
 *
 * Their services are not started: Debian's registry and PostgreSQL would listen on ports of their own choice.
 *
 * @throws Error - no apt, no rights, or apt's own complaint.
 */
export async function installDebianPackages(
  context: LocalContext,
  component: string,
  packages: readonly string[],
): Promise<void> {
  const apt = findProgram(context, 'apt-get');
  if (apt === undefined) throw new Error('this machine has no apt-get');
  const prefix = await rootPrefix(context);
  const run = async (message: string, args: readonly string[]): Promise<void> => {
    const [command, ...rest] = [...prefix, apt, ...args] as [string, ...string[]];
    const result = await announce(context, component, message, (detail) =>
      runTool(command, rest, {
        env: { ...context.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C.UTF-8' },
        timeoutMs: aptTimeoutMs,
        onLine: detail,
      }),
    );
    if (result.exitCode !== 0) throw new Error(`${message} failed: ${lastLines(result.stderr)}`);
  };
  await withLock(join(context.cacheFolder, 'apt.lock'), async () => {
    const wait = ['-o', 'DPkg::Lock::Timeout=120'];
    if (!listsRead) await run('reading the package lists', [...wait, 'update']);
    listsRead = true;
    await withoutServices(prefix.length === 0, () =>
      run(`installing ${packages.join(' ')}`, [...wait, 'install', '-y', '--no-install-recommends', ...packages]),
    );
  });
}

async function withoutServices(isRoot: boolean, work: () => Promise<void>): Promise<void> {
  const ours = isRoot && !existsSync(policyFile);
  // It forbids only as long as we live: one that we could not take away again must not stop services for ever.
  const script = `#!/bin/sh\nkill -0 ${String(process.pid)} 2>/dev/null && exit 101\nexit 0\n`;
  if (ours) writeFileSync(policyFile, script, { mode: 0o755 });
  try {
    await work();
  } finally {
    if (ours) rmSync(policyFile, { force: true });
  }
}

/**
 * What stands before a command that needs root: nothing as root, else `sudo -n`.
 *
 * @throws Error - neither root nor such a sudo.
 */
export async function rootPrefix(context: LocalContext): Promise<string[]> {
  if (process.getuid?.() === 0) return [];
  const sudo = findProgram(context, 'sudo');
  if (sudo === undefined) throw new Error('this needs root, and there is no sudo');
  const allowed = await runHelper(context, sudo, ['-n', 'true']);
  if (allowed.exitCode !== 0) throw new Error('this needs root, and sudo asks for a password');
  return [sudo, '-n'];
}

/**
 * Builds a program from its Go module into the cache.
 *
 * @param target - package and version, such as `github.com/temporalio/cli/cmd/temporal@v1.5.1`.
 * @returns the path of the program.
 * @throws Error - no Go, the compiler's own complaint, or that it was ended for its time.
 */
export async function installGoProgram(
  context: LocalContext,
  component: string,
  target: string,
  options: {
    readonly ldflags?: string;
    readonly hint?: string;
    /** What the compiler is told besides, such as `GOEXPERIMENT`. */
    readonly env?: Readonly<Record<string, string>>;
    /** Default 15 minutes: the longest of these builds, trivy's, takes ten on two cores. */
    readonly timeoutMs?: number;
    /** Path of the module, where its go.mod replaces others: it can only be built where it lies. */
    readonly root?: string;
    /** Of the program, only with `root`. Default: the last part of the package's path. */
    readonly name?: string;
  } = {},
): Promise<string> {
  const go = findProgram(context, 'go');
  if (go === undefined) throw new Error('this machine has no Go');
  const name = options.name ?? target.slice(target.lastIndexOf('/') + 1).replace(/@.*$/, '');
  const bin = join(context.cacheFolder, 'bin');
  const program = join(bin, name);
  const { timeoutMs = goTimeoutMs } = options;
  return await withLock(join(context.cacheFolder, `go-${name}.lock`), async () => {
    // Another process may have built it while this one waited.
    if (existsSync(program)) return program;
    // Of this build alone: what it fetched and compiled is gigabytes, and nobody asked for them to stay.
    const work = join(context.cacheFolder, `go-${name}`);
    const message = `building ${target}${options.hint === undefined ? '' : ` (${options.hint})`}`;
    const flags = ['-v', '-ldflags', `-s -w ${options.ldflags ?? ''}`.trim()];
    const building = announce(context, component, message, async (detail) => {
      const run = {
        env: {
          ...context.env,
          ...{ GOBIN: bin, GOTOOLCHAIN: 'auto', GOPATH: join(work, 'path'), GOCACHE: join(work, 'cache') },
          // Without it what was fetched may not be removed.
          GOFLAGS: `${context.env['GOFLAGS'] ?? ''} -modcacherw`.trim(),
          ...options.env,
        },
        timeoutMs,
        onLine: detail,
      };
      if (options.root === undefined) return await runTool(go, ['install', ...flags, target], run);
      const [path = '', version = ''] = target.split('@');
      const fetched = await runTool(go, ['mod', 'download', '-json', `${options.root}@${version}`], run);
      if (fetched.exitCode !== 0) return fetched;
      const { Dir: folder } = JSON.parse(fetched.stdout) as { readonly Dir: string };
      const made = join(work, name);
      const built = await runTool(
        go,
        ['build', '-C', folder, ...flags, '-o', made, `.${path.slice(options.root.length)}`],
        run,
      );
      if (built.exitCode !== 0) return built;
      // Under its name only when it is whole.
      mkdirSync(bin, { recursive: true });
      renameSync(made, program);
      return built;
    });
    const result = await building.finally(() => rmSync(work, { recursive: true, force: true }));
    if (result.timedOut) {
      const spent = timeoutMs < 60_000 ? `${timeoutMs / 1000} s` : `${Math.round(timeoutMs / 60_000)} minutes`;
      const said = lastLines(result.stderr);
      throw new Error(`go install ${target} was ended, for it was not done after ${spent}. It said last: ${said}`);
    }
    if (result.exitCode !== 0) throw new Error(`go install ${target} failed: ${lastLines(result.stderr)}`);
    return program;
  });
}
