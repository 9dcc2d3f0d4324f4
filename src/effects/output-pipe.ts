import { randomUUID } from 'node:crypto';
import { closeSync, constants, openSync, unlinkSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { scratchFolder } from './scratch.ts';

/** Both ends of a pipe. */
export interface OutputPipe {
  readonly reader: Socket;
  /** To be given to a child as its output. */
  readonly writeFd: number;
  /** Closes this process's copy of the writing end, without which the reader never ends. */
  closeWriter(): void;
}

/** Made at once with one `mkfifo`, so that a step pays for a thirty-second part of it. */
const batch = 32;

/**
 * Makes pipes. Node gives its children sockets, and a socket cannot be opened again by name: `echo … > /dev/stderr`, common in shell
 * scripts, fails with ENXIO. Output and errors share one pipe, so that their lines stay in the order in which they were written.
 *
 * @param makeFifos - runs mkfifo(1) for these paths; Node has no call for it.
 */
export function createOutputPipes(makeFifos: (paths: readonly string[]) => Promise<void>): () => Promise<OutputPipe> {
  const ready: string[] = [];
  let filling: Promise<void> | undefined;

  async function fill(): Promise<void> {
    const paths = Array.from({ length: batch }, () => join(scratchFolder(), `pipe-${randomUUID()}`));
    await makeFifos(paths);
    ready.push(...paths);
  }

  return async () => {
    for (;;) {
      const path = ready.pop();
      if (path !== undefined) return open(path);
      filling ??= fill().finally(() => (filling = undefined));
      await filling;
    }
  };
}

function open(path: string): OutputPipe {
  // The reader first and without waiting; then the writer finds somebody at the other end and does not wait either.
  const readFd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const writeFd = openSync(path, constants.O_WRONLY);
  unlinkSync(path);
  let open = true;
  return {
    reader: new Socket({ fd: readFd, readable: true, writable: false }),
    writeFd,
    closeWriter() {
      if (open) closeSync(writeFd);
      open = false;
    },
  };
}
