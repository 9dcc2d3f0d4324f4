/**
 * A stand-in of what takes packages, over real HTTP: a registry of npm below `/npm/`, which is published to as `libnpmpublish` documents it, and an
 * index of Python packages, `/legacy/` for the upload that PyPI documents and `/simple/` for the simple API. Requests are checked against both.
 */
import { createHash } from 'node:crypto';
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { z } from 'zod';

export interface PackageUploadStandIn {
  readonly url: string;
  /** By name and version (npm) or by file (Python). */
  readonly held: Map<string, HeldFile>;
  readonly tags: Map<string, Record<string, string>>;
  /** Fields of each upload of Python but for the file. */
  readonly forms: Readonly<Record<string, readonly string[]>>[];
  readonly violations: string[];
  /** Does something else with the next uploads: `other` content is kept, or it is taken and kept `nowhere`. */
  misbehave(...how: readonly ('other' | 'nowhere')[]): void;
  /** How the simple API answers. Default: JSON. */
  simple: 'json' | 'page' | 'no-digest' | 'nonsense' | 'elsewhere';
  /** What is said to whoever may not upload; `{authorization}` is what was sent. */
  refusal: string;
  /** How many questions do not see yet what was uploaded. */
  lag: number;
  close(): Promise<void>;
}

export interface HeldFile {
  readonly content: Buffer;
  readonly access?: string | undefined;
}

export const standInToken = 'a-token-of-the-index-9f27';

/** @see https://github.com/npm/cli/blob/latest/workspaces/libnpmpublish/lib/publish.js */
const NpmDocument = z.strictObject({
  _id: z.string(),
  name: z.string(),
  description: z.string().optional(),
  'dist-tags': z.record(z.string(), z.string()),
  versions: z.record(
    z.string(),
    z.looseObject({
      name: z.string(),
      version: z.string(),
      dist: z.strictObject({ integrity: z.string(), shasum: z.string().length(40), tarball: z.string() }),
    }),
  ),
  access: z.enum(['public', 'restricted']).nullable(),
  _attachments: z.record(
    z.string(),
    z.strictObject({
      content_type: z.literal('application/octet-stream'),
      data: z.base64(),
      length: z.number().int(),
    }),
  ),
});

/** @see https://docs.pypi.org/api/upload/ and https://packaging.python.org/en/latest/specifications/core-metadata/ */
const formFields = new Set([
  ...[':action', 'protocol_version', 'content', 'filetype', 'pyversion', 'comment', 'sha256_digest', 'md5_digest'],
  ...['blake2_256_digest', 'attestations', 'metadata_version', 'name', 'version', 'summary', 'description'],
  ...['description_content_type', 'keywords', 'home_page', 'author', 'author_email', 'maintainer', 'maintainer_email'],
  ...['license', 'license_expression', 'license_file', 'classifiers', 'platform', 'supported_platform', 'download_url'],
  ...['requires_python', 'requires_dist', 'requires_external', 'provides_dist', 'provides_extra', 'obsoletes_dist'],
  ...['project_urls', 'dynamic', 'import_name', 'import_namespace'],
]);

export async function startPackageUploadStandIn(): Promise<PackageUploadStandIn> {
  const held = new Map<string, HeldFile>();
  const tags = new Map<string, Record<string, string>>();
  const forms: Readonly<Record<string, readonly string[]>>[] = [];
  const violations: string[] = [];
  const misbehaviours: ('other' | 'nowhere')[] = [];
  const names = new Map<string, string>();
  let hidden = 0;

  const answer = (to: ServerResponse, status: number, body: unknown, type = 'application/json'): void => {
    to.writeHead(status, { 'content-type': type }).end(typeof body === 'string' ? body : JSON.stringify(body));
  };

  function keep(name: string, content: Buffer, access?: string): void {
    const how = misbehaviours.shift();
    if (how === 'nowhere') return;
    held.set(name, { content: how === 'other' ? Buffer.from('something else') : content, access });
    hidden = standIn.lag;
  }

  function isAllowed(from: IncomingMessage, to: ServerResponse): boolean {
    const { authorization = '' } = from.headers;
    const basic = `Basic ${Buffer.from(`__token__:${standInToken}`).toString('base64')}`;
    if (authorization === `Bearer ${standInToken}` || authorization === basic) return true;
    answer(
      to,
      authorization === '' ? 401 : 403,
      standIn.refusal.replace('{authorization}', authorization),
      'text/plain',
    );
    return false;
  }

  async function npm(name: string, from: IncomingMessage, to: ServerResponse): Promise<void> {
    if (from.method === 'GET') {
      const versions = [...held].filter(([key]) => key.slice(0, key.lastIndexOf('@')) === name);
      if (versions.length === 0 || hidden-- > 0) {
        answer(to, 404, { error: 'Not found' });
        return;
      }
      const list = versions.map(([key, { content }]) => {
        const version = key.slice(key.lastIndexOf('@') + 1);
        const integrity = `sha512-${createHash('sha512').update(content).digest('base64')}`;
        return [
          version,
          { name, version, dist: { integrity, tarball: `${standIn.url}/files/${encodeURIComponent(key)}` } },
        ];
      });
      answer(to, 200, { name, 'dist-tags': tags.get(name) ?? {}, versions: Object.fromEntries(list) });
      return;
    }
    if (from.method !== 'PUT') violations.push(`${from.method} of ${name}`);
    const body = await buffer(from);
    if (!isAllowed(from, to)) return;
    const read = NpmDocument.safeParse(JSON.parse(body.toString()));
    if (!read.success) {
      violations.push(`${name}: ${z.prettifyError(read.error)}`);
      answer(to, 400, { error: 'no such document' });
      return;
    }
    const { versions, _attachments: files, access, 'dist-tags': moved, _id: id } = read.data;
    const [version = '', manifest] = Object.entries(versions)[0] ?? [];
    const [file = '', attached] = Object.entries(files)[0] ?? [];
    const content = Buffer.from(attached?.data ?? '', 'base64');
    const sha512 = `sha512-${createHash('sha512').update(content).digest('base64')}`;
    for (const [ok, what] of [
      [id === name && read.data.name === name && manifest?.name === name, 'its name'],
      [manifest?.version === version && file === `${name}-${version}.tgz`, 'its version'],
      [attached?.length === content.length, 'the length of its archive'],
      [manifest?.dist.integrity === sha512, 'its integrity'],
      [manifest?.dist.shasum === createHash('sha1').update(content).digest('hex'), 'its shasum'],
      [Object.values(moved).every((tagged) => tagged === version), 'its tags'],
      [access !== null && (name.startsWith('@') || access === 'public'), 'its access'],
    ] as const) {
      if (!ok) violations.push(`${name}: ${what}`);
    }
    if (held.has(`${name}@${version}`)) {
      answer(to, 403, { error: `You cannot publish over the previously published versions: ${version}.` });
      return;
    }
    keep(`${name}@${version}`, content, access ?? undefined);
    tags.set(name, { ...tags.get(name), ...moved });
    answer(to, 201, { ok: true });
  }

  async function upload(from: IncomingMessage, to: ServerResponse): Promise<void> {
    const body = await buffer(from);
    if (!isAllowed(from, to)) return;
    const { fields, files } = formIn(body, from.headers['content-type'] ?? '');
    for (const name of [...Object.keys(fields), ...files.map(([field]) => field)]) {
      if (!formFields.has(name)) violations.push(`there is no field ${name}`);
    }
    forms.push(fields);
    const [[field, file, content] = ['', '', Buffer.alloc(0)]] = files;
    if (field !== 'content' || files.length !== 1) {
      violations.push('an upload without one file');
      answer(to, 400, 'no file', 'text/plain');
      return;
    }
    const one = (name: string): string | undefined => (fields[name]?.length === 1 ? fields[name][0] : undefined);
    for (const [ok, what] of [
      [one(':action') === 'file_upload' && one('protocol_version') === '1', 'what is done'],
      [one('sha256_digest') === createHash('sha256').update(content).digest('hex'), 'its SHA-256'],
      [one('md5_digest') === createHash('md5').update(content).digest('hex'), 'its MD5'],
      [one('name') !== undefined && one('version') !== undefined && one('metadata_version') !== undefined, 'its name'],
      [one('filetype') === (file.endsWith('.whl') ? 'bdist_wheel' : 'sdist'), 'its kind'],
      [one('pyversion') === (file.endsWith('.whl') ? 'py3' : 'source'), 'its Python'],
    ] as const) {
      if (!ok) violations.push(`${file}: ${what}`);
    }
    const before = held.get(file);
    if (before !== undefined && !before.content.equals(content)) {
      answer(to, 400, `400 File already exists ('${file}').`, 'text/plain');
      return;
    }
    names.set(file, (one('name') ?? '').toLowerCase().replaceAll(/[-_.]+/g, '-'));
    keep(file, content);
    answer(to, 200, '', 'text/plain');
  }

  function list(name: string, from: IncomingMessage, to: ServerResponse): void {
    if (name !== name.toLowerCase().replaceAll(/[-_.]+/g, '-')) violations.push(`${name} is not normalized`);
    if (from.headers.accept?.startsWith('application/vnd.pypi.simple.v1+json') !== true) violations.push('accept');
    const files = [...held].filter(([file]) => names.get(file) === name);
    if (standIn.simple === 'nonsense') return answer(to, 200, '{"files": "none"}');
    if (standIn.simple === 'elsewhere') {
      to.writeHead(302, { location: `http://elsewhere.example/simple/${name}/` }).end();
      return;
    }
    if (files.length === 0 || hidden-- > 0) return answer(to, 404, 'Not found', 'text/plain');
    const sha256 = (content: Buffer): string => createHash('sha256').update(content).digest('hex');
    if (standIn.simple === 'page') {
      const lines = files.map(
        ([file, { content }]) =>
          `<a data-requires-python="&gt;=3.8" href="../../files/${encodeURIComponent(file)}#sha256=${sha256(content)}">${file}</a><br>`,
      );
      return answer(to, 200, `<!DOCTYPE html><html><body>\n${lines.join('\n')}\n</body></html>`, 'text/html');
    }
    const entries = files.map(([filename, { content }]) => ({
      filename,
      url: `${standIn.url}/files/${encodeURIComponent(filename)}`,
      hashes: standIn.simple === 'no-digest' ? {} : { sha256: sha256(content) },
    }));
    answer(to, 200, { meta: { 'api-version': '1.1' }, name, files: entries }, 'application/vnd.pypi.simple.v1+json');
  }

  async function route(from: IncomingMessage, to: ServerResponse): Promise<void> {
    const path = new URL(from.url ?? '/', 'http://index.example').pathname;
    const [, root, rest = ''] = /^\/(npm|legacy|simple|files)\/(.*)$/.exec(path) ?? [];
    if (root === 'npm') {
      await npm(decodeURIComponent(rest), from, to);
      return;
    }
    if (root === 'legacy' && rest === '' && from.method === 'POST') {
      await upload(from, to);
      return;
    }
    if (root === 'simple' && from.method === 'GET') {
      list(rest.replace(/\/$/, ''), from, to);
      return;
    }
    const file = root === 'files' ? held.get(decodeURIComponent(rest)) : undefined;
    if (file !== undefined) return void to.writeHead(200).end(file.content);
    violations.push(`${from.method} ${path}`);
    answer(to, 404, 'Not found', 'text/plain');
  }

  const server = createServer((from, to) => {
    route(from, to).catch((error: unknown) => {
      // Half an upload is no violation; whoever sent it was cut off.
      if (!from.destroyed) violations.push(String(error));
      from.socket.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const standIn: PackageUploadStandIn = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    ...{ held, tags, forms, violations },
    misbehave: (...how) => void misbehaviours.push(...how),
    simple: 'json',
    refusal: 'no rights',
    lag: 0,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
  return standIn;
}

/** A form as RFC 7578 has it. */
function formIn(
  body: Buffer,
  type: string,
): {
  readonly fields: Record<string, string[]>;
  readonly files: readonly (readonly [field: string, file: string, content: Buffer])[];
} {
  const boundary = /^multipart\/form-data; boundary=(\S+)$/.exec(type)?.[1];
  if (boundary === undefined) throw new Error(`no form: ${type}`);
  const fields: Record<string, string[]> = {};
  const files: [string, string, Buffer][] = [];
  // One character for each byte, so that places are the same.
  for (const part of body.toString('latin1').split(`--${boundary}`).slice(1, -1)) {
    const end = part.indexOf('\r\n\r\n');
    const head = part.slice(0, end);
    const content = Buffer.from(part.slice(end + 4, -2), 'latin1');
    const name = / name="([^"]*)"/.exec(head)?.[1] ?? '';
    const file = / filename="([^"]*)"/.exec(head)?.[1];
    if (file === undefined) (fields[name] ??= []).push(content.toString('utf8'));
    else files.push([name, file, content]);
  }
  return { fields, files };
}
