import { lt, major, prerelease, valid, validRange } from 'semver';
import { ProviderError } from '../../domain/failures.ts';
import { basic, createUploadHttp, defaultUploadMs } from './upload-http.ts';
import { type NpmPackage, readNpmPackage } from './npm-archive.ts';
import type { IndexLogin, PackageUploadKind } from './port.ts';

/** The short form of what a registry knows of a package, with the digests of its versions. */
const packumentTypes = 'application/vnd.npm.install-v1+json, application/json;q=0.8';

/** A registry of npm, by npm's own library. Nothing of it starts a process or writes a file, so the token is in neither. */
export const npm: PackageUploadKind<NpmPackage> = {
  read: readNpmPackage,
  async open(options) {
    const { publish } = (await import('libnpmpublish')).default;
    const http = createUploadHttp(options);
    const { name: index, access, login, uploadTimeoutMs = defaultUploadMs } = options;
    const registry = `${options.url.replace(/\/+$/, '')}/`;
    const addressOf = ({ name }: NpmPackage): string => `${registry}${name.replace('/', '%2f')}`;

    async function ask(read: NpmPackage, signal: AbortSignal): Promise<Packument> {
      const text = await http.ask(addressOf(read), packumentTypes, signal);
      if (text === undefined) return {};
      try {
        return objectIn(JSON.parse(text));
      } catch {
        throw unclear(index, 'does not answer as a registry of npm does');
      }
    }

    return {
      addressOf,
      async find(read, signal) {
        const held = own((await ask(read, signal)).versions, read.version);
        if (held === undefined) return undefined;
        const { integrity } = objectIn(objectIn(held)['dist']);
        const digests = typeof integrity === 'string' ? integrity.split(/\s+/) : [];
        const digest = digests.find((one) => one.startsWith('sha512-'));
        if (digest === undefined) throw unclear(index, `names no SHA-512 of ${read.name} ${read.version}`);
        return { digest: digest.split('?', 1)[0] ?? digest };
      },
      async upload(read, signal) {
        const tags = objectIn((await ask(read, signal))['dist-tags']);
        const options = {
          registry,
          // Also without a login: nothing that this machine has for npm is ever taken.
          forceAuth: authOf(login),
          access: read.name.startsWith('@') ? access : 'public',
          defaultTag: tagOf(read.version, tags['latest']),
          provenance: false,
          npmVersion: 'slipway',
          retry: { retries: 0 },
          timeout: uploadTimeoutMs,
          signal: AbortSignal.any([signal, AbortSignal.timeout(uploadTimeoutMs)]),
        };
        try {
          await publish({ ...read.manifest, name: read.name, version: read.version }, read.content, options);
        } catch (error) {
          signal.throwIfAborted();
          const { statusCode, body, message } = error as Partial<NpmError>;
          if (statusCode === undefined) throw http.silence('of an upload', error);
          throw http.refusal('the upload', statusCode, wordsOf(body) ?? message ?? '');
        }
      },
    };
  },
};

interface Packument {
  readonly versions?: unknown;
  readonly 'dist-tags'?: unknown;
}

interface NpmError {
  readonly statusCode: number;
  readonly body: unknown;
  readonly message: string;
}

/**
 * The tag that the version gets: `latest` is what everybody gets who names none, so an earlier line of versions or a preview never takes it.
 *
 * @param latest - what has it now.
 */
export function tagOf(version: string, latest: unknown): string {
  const [preview] = prerelease(version) ?? [];
  if (preview !== undefined) {
    // A tag that reads as a range of versions would not be found by it, and those that are given here mean something else.
    const fits = typeof preview === 'string' && /^[a-z][a-z0-9-]*$/i.test(preview) && validRange(preview) === null;
    return fits && !/^(?:latest|release-)/i.test(preview) ? preview : 'next';
  }
  if (typeof latest === 'string' && valid(latest) !== null && lt(version, latest)) return `release-${major(version)}`;
  return 'latest';
}

function authOf(login: IndexLogin | undefined): Readonly<Record<string, string>> {
  if (login === undefined) return {};
  return login.kind === 'token' ? { token: login.token } : { _auth: basic(login).slice('Basic '.length) };
}

/** What a registry holds cannot be told, and no data is never a pass. */
function unclear(index: string, why: string): ProviderError {
  return new ProviderError('IndexRefused', `the index ${index} ${why}: what it holds cannot be checked`, {
    details: { index },
  });
}

function objectIn(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}

function own(value: unknown, key: string): unknown {
  const object = objectIn(value);
  return Object.hasOwn(object, key) ? object[key] : undefined;
}

function wordsOf(body: unknown): string | undefined {
  if (typeof body === 'string') return body;
  if (Buffer.isBuffer(body)) return body.toString('utf8');
  const { error, message } = objectIn(body);
  return typeof error === 'string' ? error : typeof message === 'string' ? message : undefined;
}
