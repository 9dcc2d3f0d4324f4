import { createWriteStream } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { extract } from 'tar-stream';
import { type LocalContext, announce } from './context.ts';
import { reasonOf } from './reason.ts';

/** A machine without internet should notice soon; one with a slow line should not be cut off in the middle. */
const firstAnswerMs = 5_000;
const stallMs = 20_000;

/**
 * Fetches one program out of a `.tar.gz` into the cache.
 *
 * @throws Error - no answer within 5 s, no more data for 20 s, a status other than 200, or no such file in it.
 */
export async function downloadProgram(
  context: LocalContext,
  component: string,
  url: string,
  name: string,
): Promise<string> {
  const program = join(context.cacheFolder, 'bin', name);
  await announce(context, component, `downloading ${url}`, async (detail) => {
    const abort = new AbortController();
    let timer = setTimeout(() => {
      abort.abort(new Error('no answer within 5 s'));
    }, firstAnswerMs);
    try {
      const response = await fetch(url, { signal: abort.signal });
      if (response.status !== 200 || response.body === null) throw new Error(`HTTP ${String(response.status)}`);
      let bytes = 0;
      const alive = async function* (source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
        for await (const chunk of source) {
          clearTimeout(timer);
          timer = setTimeout(() => {
            abort.abort(new Error('the download stalled for 20 s'));
          }, stallMs);
          bytes += chunk.length;
          detail(`${String(Math.round(bytes / 1e6))} MB`);
          yield chunk;
        }
      };
      await unpack(Readable.from(alive(response.body)), name, program);
    } catch (error) {
      throw new Error(reasonOf(abort.signal.aborted ? abort.signal.reason : error), { cause: error });
    } finally {
      clearTimeout(timer);
    }
  });
  return program;
}

async function unpack(archive: Readable, name: string, program: string): Promise<void> {
  await mkdir(dirname(program), { recursive: true });
  const part = `${program}.${String(process.pid)}.part`;
  try {
    const found: string[] = [];
    const entries = extract();
    const reading = async (): Promise<void> => {
      for await (const entry of entries) {
        if (entry.header.type === 'file' && entry.header.name.split('/').at(-1) === name) {
          await pipeline(entry, createWriteStream(part, { mode: 0o755 }));
          found.push(entry.header.name);
        } else {
          entry.resume();
        }
      }
    };
    await Promise.all([pipeline(archive, createGunzip(), entries), reading()]);
    if (found.length === 0) throw new Error(`there is no ${name} in the archive`);
    await rename(part, program);
  } finally {
    await rm(part, { force: true });
  }
}
