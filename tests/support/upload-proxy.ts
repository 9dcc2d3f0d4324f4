import { type IncomingMessage, type ServerResponse, createServer, request as ask } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';

/**
 * What happens to an upload: `half` of it goes on and the line breaks; it arrives whole and its `answer` is lost; it is answered with a status by
 * something before the index.
 */
export type Breakage = 'half' | 'answer' | { readonly status: number; readonly body?: string };

/** Stands before an index of packages, counts its uploads and breaks them when it is told to. */
export interface UploadProxy {
  readonly url: string;
  /** How many were begun, whatever became of them. */
  readonly uploads: number;
  /** What becomes of the next ones, in this order. */
  breakNext(...breakages: readonly Breakage[]): void;
  /** Nobody listens there any more. */
  close(): Promise<void>;
}

/** @param index - `http://127.0.0.1:4873` */
export async function startUploadProxy(index: string): Promise<UploadProxy> {
  const { hostname, port, host } = new URL(index);
  const breakages: Breakage[] = [];
  let uploads = 0;

  async function pass(from: IncomingMessage, to: ServerResponse): Promise<void> {
    const { method = 'GET', url: path = '/' } = from;
    const upload = method === 'PUT' || method === 'POST';
    if (upload) uploads += 1;
    const breakage = upload ? breakages.shift() : undefined;
    const body = await buffer(from);
    if (typeof breakage === 'object') {
      to.writeHead(breakage.status, { 'content-type': 'text/plain' }).end(breakage.body ?? 'by the proxy');
      return;
    }
    const headers = { ...from.headers, host, 'content-length': String(body.length) };
    delete (headers as Record<string, unknown>)['transfer-encoding'];
    const asked = ask({ hostname, port, path, method, headers, agent: false });
    const answered = new Promise<IncomingMessage>((resolve, reject) => {
      asked.on('response', resolve);
      asked.on('error', reject);
    });
    if (breakage === 'half') {
      answered.catch(() => undefined);
      asked.write(body.subarray(0, body.length / 2), () => {
        asked.destroy();
        from.socket.destroy();
      });
      return;
    }
    asked.end(body);
    const answer = await answered;
    const text = await buffer(answer);
    if (breakage === 'answer') {
      from.socket.destroy();
      return;
    }
    const kept = { ...answer.headers };
    delete kept['transfer-encoding'];
    to.writeHead(answer.statusCode ?? 500, { ...kept, 'content-length': String(text.length) }).end(text);
  }

  const server = createServer((from, to) => {
    pass(from, to).catch(() => from.socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get uploads() {
      return uploads;
    },
    breakNext: (...more) => void breakages.push(...more),
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
