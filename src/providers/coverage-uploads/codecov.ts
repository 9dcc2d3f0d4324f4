import { promisify } from 'node:util';
import { deflate } from 'node:zlib';
import pRetry, { AbortError } from 'p-retry';
import { z } from 'zod';
import { createRedactor } from '../../effects/redact.ts';
import type { CoverageReport, CoverageUpload, CreateCoverageUploads } from './port.ts';

/** After compression, bytes. Judgement: Codecov names 45 MB as what begins to be a trouble (docs.codecov.com/reference/upload). */
const mostBytes = 20 * 2 ** 20;
/** Of an answer, bytes; what is used of it is one address. Judgement. */
const longestAnswer = 100_000;
/** Judgement: two more tries within the deadline. */
const retries = 2;
const firstPauseMs = 250;
const longestPauseMs = 2_000;

const Upload = z.object({ raw_upload_location: z.url({ protocol: /^https?$/ }) });

/**
 * Codecov by the endpoints of its own uploader (codecov-cli: create-commit, create-report, do-upload): a commit and a report that may be
 * there already, an upload, and the reports to the place that this answers with, in its format of JSON.
 */
export const createCodecovUploads: CreateCoverageUploads = (options) => {
  const { url, token, service, repository, flags, timeoutMs } = options;
  const redactor = createRedactor([token]);
  const parts = repository.split('/');
  // As the uploader writes it: groups of GitLab are divided by three colons.
  const slug = encodeURI(`${parts.slice(0, -1).join(':::')}::::${parts.at(-1) ?? ''}`);
  const commits = `${url}/upload/${service}/${slug}/commits`;

  async function send(what: string, address: string, init: RequestInit, deadline: AbortSignal): Promise<string> {
    let response: Response;
    let text: string;
    try {
      response = await fetch(address, {
        ...init,
        signal: AbortSignal.any([deadline, AbortSignal.timeout(timeoutMs)]),
        redirect: 'error',
      });
      text = await limited(response);
    } catch (error) {
      const late = (error as { readonly name?: unknown }).name === 'TimeoutError';
      throw new Error(`${what}: ${late ? 'no answer in time' : 'it cannot be reached'}`);
    }
    if (response.ok) return text;
    // What storage answers may repeat the signature of the address.
    const words = init.method === 'PUT' ? '' : ` ${text.slice(0, 300)}`;
    const problem = new Error(`${what}: ${response.status}${words}`);
    const passing = response.status >= 500 || response.status === 408 || response.status === 429;
    throw passing ? problem : new AbortError(problem);
  }

  async function tried(what: string, address: string, init: RequestInit, deadline: AbortSignal): Promise<string> {
    return await pRetry(() => send(what, address, init, deadline), {
      retries,
      minTimeout: firstPauseMs,
      maxTimeout: longestPauseMs,
      signal: deadline,
    });
  }

  async function post(what: string, address: string, body: object, deadline: AbortSignal): Promise<string> {
    const headers = {
      accept: 'application/json',
      authorization: `token ${token}`,
      'content-type': 'application/json',
      'user-agent': 'slipway',
    };
    return await tried(what, address, { method: 'POST', headers, body: JSON.stringify(body) }, deadline);
  }

  async function upload(
    { commit, branch, pullRequest, build, buildUrl, reports }: CoverageUpload,
    deadline: AbortSignal,
  ): Promise<void> {
    const payload = await payloadOf(reports);
    const about = {
      commitid: commit,
      parent_commit_id: null,
      pullid: pullRequest ?? null,
      branch: branch ?? null,
    };
    await post('the commit', commits, about, deadline);
    await post('the report', `${commits}/${commit}/reports`, { code: 'default' }, deadline);
    const answer = await post(
      'the upload',
      `${commits}/${commit}/reports/default/uploads`,
      {
        ci_service: 'slipway',
        ci_url: buildUrl ?? null,
        env: {},
        flags,
        job_code: build,
        name: `slipway ${build}`,
        version: 'slipway',
      },
      deadline,
    );
    await tried('the storage', placeIn(answer), { method: 'PUT', body: new Uint8Array(payload) }, deadline);
  }

  /** Where the reports are to go: nowhere less safe than the service itself. */
  function placeIn(answer: string): string {
    let place: string;
    try {
      place = Upload.parse(JSON.parse(answer)).raw_upload_location;
    } catch {
      throw new Error('the upload: its answer is not as its reference says');
    }
    if (url.startsWith('https:') && !place.startsWith('https:')) {
      throw new Error('the upload: it names a place without TLS');
    }
    return place;
  }

  return {
    async upload(coverage, deadlineMs) {
      const deadline = AbortSignal.timeout(deadlineMs);
      try {
        await upload(coverage, deadline);
        return { kind: 'taken' };
      } catch (error) {
        const words = deadline.aborted ? `not done within ${deadlineMs} ms` : (error as Error).message;
        return { kind: 'failed', reason: redactor.text(words) };
      }
    },
  };
};

async function payloadOf(reports: readonly CoverageReport[]): Promise<Buffer> {
  const files: object[] = [];
  let bytes = 0;
  for (const { path, content } of reports) {
    const data = (await promisify(deflate)(content)).toString('base64');
    bytes += data.length;
    if (bytes > mostBytes) throw new Error(`the reports are larger than ${mostBytes} bytes when they are packed`);
    files.push({ filename: path, format: 'base64+compressed', data, labels: '' });
  }
  const payload = {
    report_fixes: { format: 'legacy', value: {} },
    network_files: [],
    coverage_files: files,
    metadata: {},
  };
  return Buffer.from(JSON.stringify(payload));
}

async function limited(response: Response): Promise<string> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    length += part.byteLength;
    if (length > longestAnswer) throw new Error('too long');
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}
