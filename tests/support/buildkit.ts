import { spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createLocalContext } from '../../src/local/context.ts';
import { findProgram } from '../../src/local/programs.ts';
import { testStateFolder } from './components.ts';
import { toolPath } from './supply-chain.ts';
import { until } from './until.ts';

/** A BuildKit daemon of a test's own, with nothing in its store. */
export interface TestBuildKit {
  /** `unix:///…` */
  readonly address: string;
  /** At once, as a machine that goes away. */
  kill(): Promise<void>;
  stop(): Promise<void>;
}

/** @param options - more of its command line, such as `--addr` with TLS. */
export async function startBuildKit(options: readonly string[] = []): Promise<TestBuildKit> {
  const program = await toolPath('buildkitd');
  const folder = mkdtempSync(join(tmpdir(), 'slipway-buildkit-'));
  const socket = join(folder, 'buildkitd.sock');
  const child = spawn(
    // Its containers and mounts die with it, however it ends.
    'unshare',
    [
      ...['--mount', '--pid', '--fork', '--mount-proc', '--kill-child=SIGKILL', '--', program],
      ...[
        '--addr',
        `unix://${socket}`,
        '--root',
        join(folder, 'root'),
        '--otel-socket-path',
        join(folder, 'otel.sock'),
      ],
      // Of its own, and a network that is there: this machine's engines are not touched.
      ...['--containerd-worker=false', '--oci-worker=true', '--oci-worker-net=host'],
      ...options,
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-4_000)));
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL');
    await ended;
  };
  const stop = async (): Promise<void> => {
    await kill();
    // What was mounted goes a moment later.
    await until(() => {
      rmSync(folder, { recursive: true, force: true });
      return true;
    });
  };
  try {
    await until(
      () => {
        if (child.exitCode !== null) throw new Error(`it ended: ${said}`);
        return said.includes('running server on');
      },
      { what: 'a BuildKit daemon' },
    );
  } catch (error) {
    await stop();
    throw new Error(`the BuildKit daemon did not start: ${said}`, { cause: error });
  }
  return { address: `unix://${socket}`, kill, stop };
}

/** A context with a shell in it, for an image that begins from nothing: no base image has to be had from anywhere. */
export function writeShellContext(folder: string, files: Readonly<Record<string, string>>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  const busybox = findProgram(createLocalContext({ stateFolder: testStateFolder }), 'busybox');
  if (busybox === undefined) throw new Error('this machine has no busybox');
  mkdirSync(join(folder, 'bin'), { recursive: true });
  copyFileSync(busybox, join(folder, 'bin/busybox'));
}
