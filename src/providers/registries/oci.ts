import { createHash } from 'node:crypto';
import { mkdir, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { ProviderError } from '../../domain/failures.ts';
import { platformOf } from '../../domain/platform.ts';
import { blobPath, writeLayoutIndex } from '../builders/oci-layout.ts';
import { checkDigest } from './digests.ts';
import { createUploads } from './oci-uploads.ts';
import type { ImageRegistry, Manifest, ManifestContent, RegistryAddress, RegistryCredentials } from './port.ts';
import { basicAuthorization, hostOf, manifestTypes, pathOf, tokenAddress, tokenIn } from './protocol.ts';

/** Of one request, ms; only manifests and lists are moved here. */
const requestTimeoutMs = 15_000;
/** Of a list of tags; some registries give a hundred at once. Judgement. */
const maxPages = 1_000;

/** One request. */
export interface Call {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE';
  readonly path: string;
  readonly repository: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  /** A large body, from its beginning at each call; the answer must come within the time of a request after its last piece. */
  readonly open?: () => AsyncIterable<Uint8Array>;
  readonly signal?: AbortSignal | undefined;
  /** A large answer: only its beginning must come in time, the rest for as long as something comes. */
  readonly streamed?: boolean;
}

interface ContentOptions {
  readonly signal?: AbortSignal;
  readonly moved?: () => void;
}

interface RawDescriptor {
  readonly digest: string;
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly platform?: RawPlatform;
}

interface RawPlatform {
  readonly os?: string;
  readonly architecture?: string;
  readonly variant?: string;
}

interface RawConfig extends RawPlatform {
  readonly config?: { readonly User?: string };
}

interface NamedPlatform {
  readonly platform: string;
  readonly digest: string;
}

interface RawManifest {
  readonly config?: RawDescriptor;
  readonly layers?: readonly RawDescriptor[];
  readonly manifests?: readonly RawDescriptor[];
}

/** A registry that speaks the distribution protocol: `registry:2`, Docker Hub, ECR, Harbor and the rest. */
export function createOciRegistry(registry: RegistryAddress): ImageRegistry {
  const base = `${registry.insecure ? 'http' : 'https'}://${hostOf(registry.address)}`;
  // Tokens are given for one repository and a few minutes; an expired one is answered by 401 and asked for again.
  const tokens = new Map<string, string>();

  async function send(call: Call): Promise<Response> {
    const authorization = tokens.get(call.repository);
    const first = await request(call, authorization);
    if (first.status !== 401) return checked(call, first);
    await first.body?.cancel();
    const fresh = await authorize(first.headers.get('www-authenticate') ?? '', registry.credentials, call.signal);
    if (fresh === undefined) throw refused(call, 401, 'it asks for a name and password, and none are given');
    tokens.set(call.repository, fresh);
    return checked(call, await request(call, fresh));
  }

  async function request(call: Call, authorization: string | undefined): Promise<Response> {
    const late = new AbortController();
    const timer = setTimeout(
      () => late.abort(new Error(`no answer within ${requestTimeoutMs / 1_000} s`)),
      requestTimeoutMs,
    );
    const isLong = call.streamed === true || call.open !== undefined;
    const timeout = isLong ? late.signal : AbortSignal.timeout(requestTimeoutMs);
    const body = call.open === undefined ? call.body : Readable.from(whileMoving(call.open(), timer));
    const url = new URL(call.path, base);
    // An upload may go to another host, which has no business with the password of this one.
    const isOwn = authorization !== undefined && url.host === new URL(base).host;
    try {
      return await fetch(url, {
        method: call.method,
        headers: { ...call.headers, ...(isOwn ? { authorization } : {}) },
        ...(body === undefined ? {} : { body, duplex: 'half' as const }),
        signal: call.signal === undefined ? timeout : AbortSignal.any([call.signal, timeout]),
      });
    } catch (error) {
      if (call.signal?.aborted === true) throw call.signal.reason;
      throw unavailable(`${registry.address} does not answer: ${reasonOf(error)}`, error);
    } finally {
      clearTimeout(timer);
    }
  }

  async function checked(call: Call, response: Response): Promise<Response> {
    if (response.ok || response.status === 404) return response;
    const said = (await response.text().catch(() => '')).slice(0, 500);
    if (response.status === 401 || response.status === 403) throw refused(call, response.status, said);
    if (response.status === 429 || response.status >= 500) {
      throw unavailable(`${registry.address} answered ${response.status} to ${call.method} ${call.path}: ${said}`);
    }
    throw refused(call, response.status, said);
  }

  function refused(call: Call, status: number, said: string): ProviderError {
    return new ProviderError(
      'RegistryRefused',
      `${registry.address} refused ${call.method} ${call.path} with status ${status}${said === '' ? '' : `: ${said}`}`,
      { details: { registry: registry.address, repository: call.repository, status } },
    );
  }

  async function manifest(
    method: 'GET' | 'HEAD',
    repository: string,
    reference: string,
    signal: AbortSignal | undefined,
  ): Promise<Response> {
    const path = `/v2/${pathOf(repository)}/manifests/${encodeURIComponent(reference)}`;
    return send({ method, path, repository, headers: { accept: manifestTypes }, signal });
  }

  async function readManifest(
    repository: string,
    reference: string,
    signal?: AbortSignal,
  ): Promise<Manifest | undefined> {
    const response = await manifest('HEAD', repository, reference, signal);
    if (response.status === 404) return undefined;
    const digest = response.headers.get('docker-content-digest');
    if (digest === null) throw unavailable(`${registry.address} does not say the digest of ${repository}:${reference}`);
    return {
      digest,
      mediaType: response.headers.get('content-type') ?? '',
      sizeBytes: Number(response.headers.get('content-length') ?? 0),
    };
  }

  async function readRaw(
    repository: string,
    reference: string,
    signal: AbortSignal | undefined,
  ): Promise<(Manifest & { readonly bytes: Buffer; readonly raw: RawManifest }) | undefined> {
    const response = await manifest('GET', repository, reference, signal);
    if (response.status === 404) return undefined;
    const bytes = Buffer.from(await response.arrayBuffer());
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    if (reference.startsWith('sha256:') && digest !== reference) throw changed(repository, reference, digest);
    const mediaType = response.headers.get('content-type') ?? '';
    return { digest, mediaType, sizeBytes: bytes.length, bytes, raw: JSON.parse(bytes.toString()) as RawManifest };
  }

  async function readContent(
    repository: string,
    reference: string,
    signal?: AbortSignal,
  ): Promise<ManifestContent | undefined> {
    const found = await readRaw(repository, reference, signal);
    if (found === undefined) return undefined;
    const { digest, mediaType, sizeBytes, raw } = found;
    const { config, layers = [], manifests = [] } = raw;
    return {
      digest,
      mediaType,
      sizeBytes,
      ...(config === undefined ? {} : { config: config.digest }),
      blobs: [...(config === undefined ? [] : [config]), ...layers].map((each) => ({
        digest: each.digest,
        sizeBytes: each.size,
        ...(each.annotations === undefined ? {} : { annotations: each.annotations }),
      })),
      manifests: manifests.map((each) => each.digest),
    };
  }

  /** A configuration, which is small. */
  async function readConfig(
    repository: string,
    digest: string,
    signal: AbortSignal | undefined,
  ): Promise<RawConfig | undefined> {
    const path = `/v2/${pathOf(repository)}/blobs/${digest}`;
    const response = await send({ method: 'GET', path, repository, signal });
    if (response.status === 404) return undefined;
    const bytes = Buffer.from(await response.arrayBuffer());
    const held = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    if (held !== digest) throw changed(repository, digest, held);
    return JSON.parse(bytes.toString()) as RawConfig;
  }

  /** Reads a blob to its end, and keeps it only where `keep` does. */
  async function countBlob(
    repository: string,
    digest: string,
    options: ContentOptions,
    keep?: (chunk: Uint8Array) => Promise<unknown>,
  ): Promise<number> {
    const path = `/v2/${pathOf(repository)}/blobs/${digest}`;
    const response = await send({ method: 'GET', path, repository, signal: options.signal, streamed: true });
    if (response.status === 404) throw lacks(repository, digest);
    const hash = createHash('sha256');
    let bytes = 0;
    try {
      for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
        hash.update(chunk);
        bytes += chunk.length;
        await keep?.(chunk);
        options.moved?.();
      }
    } catch (error) {
      if (options.signal?.aborted === true) throw options.signal.reason;
      if ((error as NodeJS.ErrnoException).code === 'ENOSPC') {
        throw new ProviderError('DiskFull', `no room is left for ${digest}`, { cause: error });
      }
      throw unavailable(`${registry.address} broke off in the middle of ${digest}: ${reasonOf(error)}`, error);
    }
    const held = `sha256:${hash.digest('hex')}`;
    if (held !== digest) throw changed(repository, digest, held);
    return bytes;
  }

  async function verifyContent(
    repository: string,
    digest: string,
    options: ContentOptions,
  ): Promise<{ readonly blobs: number; readonly bytes: number }> {
    const content = await readContent(repository, digest, options.signal);
    if (content === undefined) throw lacks(repository, digest);
    let blobs = 1;
    let bytes = content.sizeBytes;
    for (const blob of content.blobs) {
      bytes += await countBlob(repository, blob.digest, options);
      blobs += 1;
    }
    for (const each of content.manifests) {
      const inner = await verifyContent(repository, each, options);
      bytes += inner.bytes;
      blobs += inner.blobs;
    }
    return { blobs, bytes };
  }

  /** One manifest and everything that it names. */
  async function fetchManifest(
    repository: string,
    digest: string,
    folder: string,
    options: ContentOptions,
  ): Promise<Manifest> {
    const found = await readRaw(repository, digest, options.signal);
    if (found === undefined) throw lacks(repository, digest);
    const { config, layers = [], manifests = [] } = found.raw;
    for (const blob of [...(config === undefined ? [] : [config]), ...layers]) {
      const file = await open(blobPath(folder, blob.digest), 'w');
      try {
        await countBlob(repository, blob.digest, options, (chunk) => file.writeFile(chunk));
      } finally {
        await file.close();
      }
    }
    for (const each of manifests) await fetchManifest(repository, each.digest, folder, options);
    await writeFile(blobPath(folder, digest), found.bytes);
    return found;
  }

  function lacks(repository: string, digest: string): ProviderError {
    return new ProviderError('ImageNotFound', `${registry.address} has no ${repository}@${digest}`, {
      details: { repository, digest },
    });
  }

  function changed(repository: string, digest: string, held: string): ProviderError {
    return new ProviderError('DigestMismatch', `${registry.address} gives ${held} for ${repository}@${digest}`, {
      details: { repository, digest, held },
    });
  }

  return {
    readManifest,
    readContent,
    verifyContent,

    async fetchImage(repository, digest, folder, options) {
      await mkdir(join(folder, 'blobs', 'sha256'), { recursive: true });
      const { mediaType, sizeBytes } = await fetchManifest(repository, digest, folder, options);
      await writeLayoutIndex(folder, { mediaType, digest, size: sizeBytes });
    },
    ...createUploads({
      send,
      pathOf,
      base,
      readManifest,
      unavailable: (said) => unavailable(`${registry.address} ${said}`),
    }),

    async readPlatforms(repository, digest, signal) {
      const raw = (await readRaw(repository, digest, signal))?.raw;
      const named = ({ os = '', architecture = '', variant }: RawPlatform, of: string): NamedPlatform[] =>
        os === '' || os === 'unknown' ? [] : [{ platform: platformOf(os, architecture, variant), digest: of }];
      if (raw?.manifests !== undefined) {
        return raw.manifests.flatMap((each) => named(each.platform ?? {}, each.digest));
      }
      if (raw?.config === undefined) return [];
      return named((await readConfig(repository, raw.config.digest, signal)) ?? {}, digest);
    },

    async readUser(repository, digest, signal) {
      const config = (await readRaw(repository, digest, signal))?.raw.config;
      if (config === undefined) return undefined;
      const found = await readConfig(repository, config.digest, signal);
      return found === undefined ? undefined : (found.config?.User ?? '');
    },

    async ensureTag(repository, digest, tag, signal) {
      const found = await manifest('GET', repository, digest, signal);
      if (found.status === 404) throw lacks(repository, digest);
      const body = await found.text();
      const mediaType = found.headers.get('content-type') ?? 'application/vnd.docker.distribution.manifest.v2+json';
      await send({
        method: 'PUT',
        path: `/v2/${pathOf(repository)}/manifests/${encodeURIComponent(tag)}`,
        repository,
        headers: { 'content-type': mediaType },
        body,
        signal,
      });
      const held = await readManifest(repository, tag, signal);
      checkDigest(repository, tag, digest, held?.digest);
    },

    async listTags(repository, signal) {
      const tags: string[] = [];
      let path = `/v2/${pathOf(repository)}/tags/list?n=1000`;
      for (let page = 0; page < maxPages; page += 1) {
        const response = await send({ method: 'GET', path, repository, signal });
        if (response.status === 404 && page === 0) return tags;
        if (response.status === 404)
          throw unavailable(`${registry.address} broke off its list of tags of ${repository}`);
        const body = (await response.json()) as { readonly tags?: readonly string[] | null };
        tags.push(...(body.tags ?? []));
        const next = /<([^>]+)>;\s*rel="?next"?/.exec(response.headers.get('link') ?? '')?.[1];
        if (next === undefined) return tags;
        const { pathname, search } = new URL(next, base);
        path = pathname + search;
      }
      throw new ProviderError(
        'TooLarge',
        `${registry.address} has more tags of ${repository} than the ${maxPages} pages that are read: remove some there. Until then nothing of it is removed here.`,
        { details: { repository } },
      );
    },

    async listReferrers(repository, digest, signal) {
      const path = `/v2/${pathOf(repository)}/referrers/${digest}`;
      const response = await send({ method: 'GET', path, repository, signal });
      if (response.status !== 404) {
        const { manifests = [] } = (await response.json()) as RawManifest;
        return manifests.map((each) => each.digest);
      }
      await response.body?.cancel();
      // A registry without the API has the list under a tag, kept by whoever pushed them (distribution-spec 1.1, "Referrers Tag Schema").
      return (await readContent(repository, digest.replace(':', '-'), signal))?.manifests ?? [];
    },

    async deleteManifest(repository, digest, signal) {
      const path = `/v2/${pathOf(repository)}/manifests/${encodeURIComponent(digest)}`;
      await send({ method: 'DELETE', path, repository, signal });
    },
  };
}

/** Answers a challenge (RFC 7235): with the password itself, or with the token that it buys. */
async function authorize(
  challenge: string,
  credentials: RegistryCredentials | undefined,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const basic = basicAuthorization(credentials);
  const url = tokenAddress(challenge);
  if (url === undefined) return basic;
  const timeout = AbortSignal.timeout(requestTimeoutMs);
  const response = await fetch(url, {
    headers: basic === undefined ? {} : { authorization: basic },
    signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
  }).catch((error: unknown) => {
    if (signal?.aborted === true) throw signal.reason;
    throw unavailable(`${url.host}, which gives out tokens, does not answer: ${reasonOf(error)}`, error);
  });
  if (!response.ok) return undefined;
  const token = tokenIn(await response.json());
  return token === undefined ? undefined : `Bearer ${token}`;
}

function unavailable(message: string, cause?: unknown): ProviderError {
  return new ProviderError('RegistryUnavailable', message, cause === undefined ? {} : { cause });
}

function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const code = (cause as { readonly code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : cause instanceof Error ? cause.message : String(cause);
}

/** The time of a request begins again with each piece. */
async function* whileMoving(bytes: AsyncIterable<Uint8Array>, timer: NodeJS.Timeout): AsyncGenerator<Uint8Array> {
  for await (const chunk of bytes) {
    timer.refresh();
    yield chunk;
  }
}
