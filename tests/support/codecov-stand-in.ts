/**
 * A stand-in of Codecov and its storage, over real HTTP. Each request is checked against what Codecov's own uploader sends and its API takes: method,
 * path, query, headers, fields, and no field that is not in them.
 *
 * Sources: codecov-cli (`send_commit_data`, `send_create_report_request`, `UploadSender`), codecov-api (`upload/urls.py`, `upload/serializers.py`),
 * the worker's `VersionOneReportParser`.
 */
import { type IncomingMessage, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { inflateSync } from 'node:zlib';
import { z } from 'zod';

export interface CodecovStandIn {
  readonly url: string;
  readonly token: string;
  /** Never told to anybody: it stands in the address that reports are put to. */
  readonly signature: string;
  readonly commits: Readonly<Record<string, unknown>>[];
  readonly uploads: Readonly<Record<string, unknown>>[];
  /** What came to the storage, unpacked: content by path. */
  readonly stored: Readonly<Record<string, string>>[];
  readonly requests: string[];
  readonly violations: string[];
  /** The next requests are answered with these; `never` is not answered at all. */
  failNext(...answers: readonly (number | 'never')[]): void;
  /** Where the reports are to be put instead. */
  place: string | undefined;
  close(): Promise<void>;
}

const sha = z.string().regex(/^[0-9a-f]{40}$/);
const Commit = z.strictObject({
  commitid: sha,
  parent_commit_id: sha.nullable(),
  pullid: z.number().int().nullable(),
  branch: z.string().nullable(),
});
const CommitReport = z.strictObject({ code: z.literal('default') });
const Upload = z.strictObject({
  ci_service: z.string(),
  ci_url: z.url().nullable(),
  env: z.record(z.string(), z.string()),
  flags: z.array(z.string().regex(/^[\w.-]{1,45}$/)),
  job_code: z.string(),
  name: z.string().max(100),
  version: z.string(),
});
const Payload = z.strictObject({
  report_fixes: z.strictObject({ format: z.literal('legacy'), value: z.object({}) }),
  network_files: z.array(z.string()),
  coverage_files: z.array(
    z.strictObject({
      filename: z.string(),
      format: z.literal('base64+compressed'),
      data: z.base64(),
      labels: z.literal(''),
    }),
  ),
  metadata: z.object({}),
});

export async function startCodecov(): Promise<CodecovStandIn> {
  const signature = 'X-Amz-Signature-0123456789';
  const token = '3c0ffee0-1111-4222-8333-444455556666';
  const failures: (number | 'never')[] = [];
  let url = '';

  function answerOf(request: IncomingMessage, raw: string): readonly [number, unknown] {
    const at = new URL(request.url ?? '', url);
    const { headers, method } = request;
    if (at.pathname === '/storage/raw.txt') {
      if (method !== 'PUT' || at.search !== `?signature=${signature}`) known.violations.push(`${method} ${at.href}`);
      // Signed without a type, and none of its business whose token it was.
      for (const name of ['authorization', 'content-type'] as const) {
        if (headers[name] !== undefined) known.violations.push(`storage with ${name}`);
      }
      const { coverage_files: files } = Payload.parse(JSON.parse(raw));
      known.stored.push(
        Object.fromEntries(
          files.map(({ filename, data }) => [filename, inflateSync(Buffer.from(data, 'base64')).toString()]),
        ),
      );
      return [200, ''];
    }
    if (headers.authorization !== `token ${token}`)
      return [401, { detail: `Not valid: ${headers.authorization ?? ''}` }];
    if (method !== 'POST' || headers['content-type'] !== 'application/json' || at.search !== '') {
      known.violations.push(`${method} ${at.href} ${headers['content-type']}`);
    }
    const [, rest] = /^\/upload\/github\/team::::app\/commits(.*)$/.exec(at.pathname) ?? [];
    const body: unknown = JSON.parse(raw);
    if (rest === '') {
      known.commits.push(Commit.parse(body));
      return [201, body];
    }
    const [, commit, report] = /^\/([0-9a-f]{40})\/reports(\/default\/uploads)?$/.exec(rest ?? '') ?? [];
    if (!known.commits.some(({ commitid }) => commitid === commit)) return [404, { detail: 'Commit not found.' }];
    if (report === undefined) return [201, CommitReport.parse(body)];
    known.uploads.push(Upload.parse(body));
    const place = known.place ?? `${url}/storage/raw.txt?signature=${signature}`;
    return [201, { external_id: 'e', created_at: '2026-11-26', raw_upload_location: place, url: `${url}/commit` }];
  }

  const server = createServer((request, response) => {
    void text(request).then((raw) => {
      known.requests.push(`${request.method ?? ''} ${(request.url ?? '').split('?')[0]}`);
      const failure = failures.shift();
      if (failure === 'never') return;
      let status: number;
      let body: unknown;
      try {
        // As storages do: the refusal repeats what was asked.
        [status, body] = failure === undefined ? answerOf(request, raw) : [failure, `${failure}: ${request.url ?? ''}`];
      } catch (error) {
        known.violations.push(String(error));
        [status, body] = [400, { detail: 'invalid' }];
      }
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(body));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const known: CodecovStandIn = {
    ...{ url, token, signature, commits: [], uploads: [], stored: [], requests: [], violations: [], place: undefined },
    failNext: (...answers) => void failures.push(...answers),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return known;
}
