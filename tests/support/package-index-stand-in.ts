/**
 * A stand-in of an index of packages, over real HTTP: a registry of npm (its `package-metadata` in the whole form) below `/npm`, a simple repository as
 * JSON (PEP 691, PEP 700) below `/simple`. Requests are checked against what their protocols say.
 */
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface NpmVersion {
  readonly at?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly engines?: unknown;
  readonly deprecated?: string;
  /** Instead of a tarball of the stand-in. */
  readonly tarball?: string;
  readonly scripts?: Readonly<Record<string, string>>;
}

export interface PythonVersion {
  readonly at?: string;
  readonly requires?: string;
  readonly yanked?: string | boolean;
  /** Default: a wheel and a source archive. */
  readonly files?: readonly string[];
}

export interface PackageIndexStandIn {
  readonly npmUrl: string;
  readonly pythonUrl: string;
  /** Asked for where it is set: `Bearer …` or `Basic …`, whole. */
  authorization: string | undefined;
  npm: Record<string, Readonly<Record<string, NpmVersion>> | undefined>;
  python: Record<string, Readonly<Record<string, PythonVersion>> | undefined>;
  /** Answers by path, before anything else. */
  readonly answers: Record<
    string,
    { readonly status: number; readonly headers?: Record<string, string>; readonly body?: string } | undefined
  >;
  readonly requests: string[];
  readonly violations: string[];
  close(): Promise<void>;
}

export const shaOf = (file: string): string => createHash('sha256').update(file).digest('hex');

export async function startPackageIndexStandIn(): Promise<PackageIndexStandIn> {
  const violations: string[] = [];
  const requests: string[] = [];
  let url = '';
  const server = createServer((request, response) => {
    const path = request.url ?? '';
    requests.push(path);
    const json = (status: number, type: string, body: unknown): void => {
      response.writeHead(status, { 'content-type': type }).end(JSON.stringify(body));
    };
    if (request.method !== 'GET') violations.push(`${request.method} ${path}`);
    const answer = standIn.answers[path];
    if (answer !== undefined) return void response.writeHead(answer.status, answer.headers).end(answer.body);
    if (standIn.authorization !== undefined && request.headers.authorization !== standIn.authorization) {
      return json(401, 'application/json', { error: 'who are you' });
    }
    const npm = /^\/npm\/((?:@[^/%]+%2f)?[^/%]+)$/i.exec(path)?.[1];
    if (npm !== undefined) {
      const name = decodeURIComponent(npm);
      const versions = standIn.npm[name];
      if (versions === undefined) return json(404, 'application/json', { error: 'Not found' });
      return json(200, 'application/json', packageOf(url, name, versions));
    }
    const python = /^\/simple\/([^/]+)\/$/.exec(path)?.[1];
    if (python !== undefined) {
      if (python !== python.toLowerCase().replaceAll(/[-_.]+/g, '-')) violations.push(`${python} is not normalized`);
      if (request.headers.accept !== 'application/vnd.pypi.simple.v1+json') violations.push(`accept of ${path}`);
      const versions = standIn.python[python];
      if (versions === undefined) return json(404, 'text/plain', 'Not found');
      return json(200, 'application/vnd.pypi.simple.v1+json', projectOf(python, versions));
    }
    violations.push(`nobody asks for ${path}`);
    json(404, 'application/json', {});
  });
  const standIn: PackageIndexStandIn = {
    npmUrl: '',
    pythonUrl: '',
    authorization: undefined,
    npm: {},
    python: {},
    answers: {},
    requests,
    violations,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return Object.assign(standIn, { npmUrl: `${url}/npm`, pythonUrl: `${url}/simple` });
}

function packageOf(url: string, name: string, versions: Readonly<Record<string, NpmVersion>>): object {
  return {
    name,
    'dist-tags': { latest: Object.keys(versions).at(-1) },
    time: Object.fromEntries(
      Object.entries(versions).flatMap(([version, { at }]) => (at === undefined ? [] : [[version, at]])),
    ),
    versions: Object.fromEntries(
      Object.entries(versions).map(([version, { tarball, ...rest }]) => [
        version,
        {
          name,
          version,
          ...rest,
          dist: {
            tarball: tarball ?? `${url}/npm/${name}/-/${name}-${version}.tgz`,
            integrity: `sha512-${createHash('sha512').update(`${name}@${version}`).digest('base64')}`,
          },
        },
      ]),
    ),
  };
}

function projectOf(name: string, versions: Readonly<Record<string, PythonVersion>>): object {
  return {
    meta: { 'api-version': '1.1' },
    name,
    versions: Object.keys(versions),
    files: Object.entries(versions).flatMap(([version, { at, requires, yanked, files }]) =>
      (files ?? [`${name.replaceAll('-', '_')}-${version}-py3-none-any.whl`, `${name}-${version}.tar.gz`]).map(
        (filename) => ({
          filename,
          url: `https://files.example/${filename}`,
          hashes: { sha256: shaOf(filename) },
          ...(requires === undefined ? {} : { 'requires-python': requires }),
          ...(at === undefined ? {} : { 'upload-time': at }),
          ...(yanked === undefined ? {} : { yanked }),
        }),
      ),
    ),
  };
}
