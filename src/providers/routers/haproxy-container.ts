import type { Readable } from 'node:stream';
import { ProviderError } from '../../domain/failures.ts';
import { connectDocker } from '../targets/docker-client.ts';

/** Checks configuration folders with the program inside the router's own container; its folders have the same paths there. */
export async function createContainerCheck(container: {
  readonly name: string;
  readonly docker: string;
  readonly binary: string;
}): Promise<(folder: string, signal: AbortSignal | undefined) => Promise<{ ok: boolean; output: string }>> {
  const docker = await connectDocker({ address: container.docker });
  return async (folder, signal) => {
    const abort = signal === undefined ? {} : { abortSignal: signal };
    try {
      const exec = await docker.getContainer(container.name).exec({
        Cmd: [container.binary, '-c', '-f', folder],
        AttachStdout: true,
        AttachStderr: true,
        // One stream without frames: the output is only shown.
        Tty: true,
        ...abort,
      });
      const stream = (await exec.start({ Tty: true, ...abort })) as unknown as Readable;
      const chunks: Buffer[] = [];
      for await (const chunk of stream) chunks.push(chunk as Buffer);
      const { ExitCode } = await exec.inspect(abort);
      const output = Buffer.concat(chunks).toString('utf8').replaceAll('\r', '');
      // A file that is wrong ends the check with 1. Everything else is the engine's, such as 126 for a container that just ended.
      if (ExitCode !== 0 && ExitCode !== 1) throw new Error(output.trim());
      return { ok: ExitCode === 0, output };
    } catch (error) {
      signal?.throwIfAborted();
      throw new ProviderError(
        'RouterUnavailable',
        `the file could not be checked in container ${container.name}: ${error instanceof Error ? error.message : String(error)}`,
        { details: { container: container.name }, cause: error },
      );
    }
  };
}
