import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { pack } from 'tar-stream';
import { createLocalContext } from '../../../src/local/context.ts';
import { downloadProgram } from '../../../src/local/downloads.ts';

let folder: string;
let server: Server | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'slipway-downloads-'));
});

afterEach(() => {
  server?.closeAllConnections();
  server?.close();
  server = undefined;
  rmSync(folder, { recursive: true, force: true });
});

async function serve(handler: Parameters<typeof createServer>[1]): Promise<string> {
  server = createServer(handler as never);
  await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${String((server.address() as AddressInfo).port)}/a.tar.gz`;
}

function context() {
  return createLocalContext({ stateFolder: join(folder, 'state'), cacheFolder: join(folder, 'cache') });
}

async function archiveOf(files: Record<string, string>): Promise<Buffer> {
  const tar = pack();
  for (const [name, text] of Object.entries(files)) tar.entry({ name, mode: 0o644 }, text);
  tar.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of tar) chunks.push(chunk as Buffer);
  return gzipSync(Buffer.concat(chunks));
}

describe('downloadProgram', () => {
  test('takes the one program out of the archive and makes it executable', async () => {
    const archive = await archiveOf({ LICENSE: 'free', 'folder/tool': '#!/bin/sh\n', README: 'read' });
    const url = await serve((_request, response) => response.end(archive));
    const path = await downloadProgram(context(), 'tool', url, 'tool');
    expect(readFileSync(path, 'utf8')).toBe('#!/bin/sh\n');
    expect(statSync(path).mode & 0o777).toBe(0o755);
  });

  test('says the status where the address has nothing', async () => {
    const url = await serve((_request, response) => {
      response.statusCode = 404;
      response.end();
    });
    await expect(downloadProgram(context(), 'tool', url, 'tool')).rejects.toThrow('HTTP 404');
  });

  test('refuses an archive without the program and leaves nothing behind', async () => {
    const archive = await archiveOf({ other: 'x' });
    const url = await serve((_request, response) => response.end(archive));
    const local = context();
    await expect(downloadProgram(local, 'tool', url, 'tool')).rejects.toThrow('there is no tool in the archive');
    expect(() => statSync(join(local.cacheFolder, 'bin', 'tool'))).toThrow('ENOENT');
  });

  test('refuses an archive that is cut off', async () => {
    const archive = await archiveOf({ tool: 'x'.repeat(100_000) });
    const url = await serve((_request, response) => {
      response.setHeader('content-length', archive.length);
      response.write(archive.subarray(0, archive.length / 2), () => response.destroy());
    });
    const local = context();
    await expect(downloadProgram(local, 'tool', url, 'tool')).rejects.toThrow();
    expect(() => statSync(join(local.cacheFolder, 'bin', 'tool'))).toThrow('ENOENT');
  });

  test('gives up on a machine that swallows everything', async () => {
    const url = await serve(() => undefined);
    await expect(downloadProgram(context(), 'tool', url, 'tool')).rejects.toThrow('no answer within 5 s');
  });

  test('says why where nobody listens', async () => {
    const url = await serve(() => undefined);
    server!.close();
    server = undefined;
    await expect(downloadProgram(context(), 'tool', url, 'tool')).rejects.toThrow('ECONNREFUSED');
  });
});
