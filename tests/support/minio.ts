import { spawn } from 'node:child_process';
import { createHash, createHmac, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLocalContext } from '../../src/local/context.ts';
import { type InfrastructureProgram, ensureInfrastructureProgram } from '../../src/local/infrastructure.ts';
import { testStateFolder } from './components.ts';
import { until } from './until.ts';

/** A real MinIO of this test alone, with one bucket. */
export interface Minio {
  readonly address: string;
  readonly bucket: string;
  /** What AWS's tools take their keys from. */
  readonly env: Readonly<Record<string, string>>;
  /** Undefined where there is no such object. */
  read(key: string): Promise<string | undefined>;
  write(key: string, content: string): Promise<void>;
  stop(): Promise<void>;
}

/** Found, or built from its Go module: minutes, once a machine. */
export async function infrastructureProgram(name: InfrastructureProgram): Promise<string> {
  const context = createLocalContext({
    stateFolder: testStateFolder,
    onProgress: ({ component, message }) => process.stderr.write(`${component}: ${message}\n`),
  });
  return await ensureInfrastructureProgram(context, name);
}

export async function startMinio(program: string): Promise<Minio> {
  const folder = await mkdtemp(join(tmpdir(), 'slipway-minio-'));
  const port = await freePort();
  const host = `127.0.0.1:${port}`;
  const keys = { id: 'slipway', secret: randomBytes(16).toString('hex') };
  const server = spawn(program, ['server', '--quiet', '--address', host, join(folder, 'data')], {
    stdio: 'ignore',
    env: {
      HOME: folder,
      MINIO_ROOT_USER: keys.id,
      MINIO_ROOT_PASSWORD: keys.secret,
      MINIO_BROWSER: 'off',
      MINIO_UPDATE: 'off',
    },
  });
  const ended = once(server, 'exit');
  const bucket = 'states';
  const ask = (method: string, path: string, body = ''): Promise<Response> =>
    askS3({ method, host, path, body, ...keys });
  await until(async () => {
    const answer = await ask('PUT', `/${bucket}`).catch(() => undefined);
    return answer?.status === 200;
  });
  return {
    address: `http://${host}`,
    bucket,
    env: { AWS_ACCESS_KEY_ID: keys.id, AWS_SECRET_ACCESS_KEY: keys.secret },
    async read(key) {
      const answer = await ask('GET', `/${bucket}/${key}`);
      return answer.status === 200 ? await answer.text() : undefined;
    },
    async write(key, content) {
      const { status } = await ask('PUT', `/${bucket}/${key}`, content);
      if (status !== 200) throw new Error(`MinIO answered ${status} to the writing of ${key}`);
    },
    async stop() {
      server.kill('SIGTERM');
      await ended;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A request signed as AWS's Signature Version 4 has it. */
async function askS3(request: {
  readonly method: string;
  readonly host: string;
  readonly path: string;
  readonly body: string;
  readonly id: string;
  readonly secret: string;
}): Promise<Response> {
  const { method, host, path, body, id, secret } = request;
  const now = new Date().toISOString().replace(/[-:]|\.\d{3}/g, '');
  const day = now.slice(0, 8);
  const scope = `${day}/us-east-1/s3/aws4_request`;
  const hash = (data: string): string => createHash('sha256').update(data).digest('hex');
  const mac = (key: string | Buffer, data: string): Buffer => createHmac('sha256', key).update(data).digest();
  const headers = `host:${host}\nx-amz-content-sha256:${hash(body)}\nx-amz-date:${now}\n`;
  const signed = 'host;x-amz-content-sha256;x-amz-date';
  const canonical = [method, path, '', headers, signed, hash(body)].join('\n');
  const key = ['us-east-1', 's3', 'aws4_request'].reduce(
    (last: Buffer, part) => mac(last, part),
    mac(`AWS4${secret}`, day),
  );
  const signature = mac(key, ['AWS4-HMAC-SHA256', now, scope, hash(canonical)].join('\n')).toString('hex');
  return await fetch(`http://${host}${path}`, {
    method,
    ...(body === '' ? {} : { body }),
    headers: {
      'x-amz-date': now,
      'x-amz-content-sha256': hash(body),
      authorization: `AWS4-HMAC-SHA256 Credential=${id}/${scope}, SignedHeaders=${signed}, Signature=${signature}`,
    },
  });
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const { port } = server.address() as AddressInfo;
  await new Promise((closed) => server.close(closed));
  return port;
}
