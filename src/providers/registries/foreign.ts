import { createHash } from 'node:crypto';
import { z } from 'zod';
import { ProviderError } from '../../domain/failures.ts';
import { platformOf } from '../../domain/platform.ts';
import { type BoundedAnswer, BoundedHttpError, type Lookup, createBoundedHttp } from '../../effects/bounded-http.ts';
import type { ImageRegistry, Manifest, RegistryAddress } from './port.ts';
import { basicAuthorization, hostOf, manifestTypes, pathOf, tokenAddress, tokenIn } from './protocol.ts';

/** Of one request, ms. That of a registry of one's own. */
const requestMs = 15_000;
/** Of an answer, bytes: a token, or a sentence about an error. Judgement. */
const mostBytes = 256 * 1024;
/** Of a manifest, and of a configuration: what a registry has to take at least (distribution-spec 1.1, "Pushing Manifests"). */
const mostManifestBytes = 4 * 1024 * 1024;
const digestForm = /^sha256:[0-9a-f]{64}$/;

const Descriptor = z.object({ digest: z.string().regex(digestForm), size: z.number().nonnegative() });
/** It stands in messages, so it is a word or nothing. */
const word = z.string().regex(/^[\w.-]{1,40}$/);
const Platform = z.object({ os: word, architecture: word, variant: word.optional() });
const Content = z.object({
  config: Descriptor.optional(),
  layers: z.array(Descriptor).optional(),
  manifests: z.array(Descriptor.extend({ platform: Platform.optional().catch(undefined) })).optional(),
});

export interface ForeignRegistryOptions extends RegistryAddress {
  /** Origins that project.yaml names: they may be on this machine, in a private network, and without TLS. */
  readonly isKnown: (origin: string) => boolean;
  /** Looks names up. Default: as the machine does. */
  readonly lookup?: Lookup;
}

/**
 * Origin of a registry: what `isKnown` is asked for.
 *
 * @throws `RegistryRefused` (not retried): what stands there is no address.
 */
export function registryOrigin({ address, insecure }: Pick<RegistryAddress, 'address' | 'insecure'>): string {
  const url = URL.parse(`${insecure ? 'http' : 'https'}://${hostOf(address)}`);
  if (url === null) throw new ProviderError('RegistryRefused', `${address} is no address of a registry`);
  return url.origin;
}

/** What is asked of such a registry. */
export type ForeignRegistry = Pick<ImageRegistry, 'readManifest' | 'readContent' | 'readPlatforms'>;

interface Found extends Manifest {
  readonly content: z.output<typeof Content>;
}

/**
 * A registry that is asked because a repository names it, which may be anybody's: it is told nothing but the name of an image, and neither it, nor
 * what it redirects to, nor the place that it says gives out tokens may be in the own network, answer for long or with much.
 */
export function createForeignRegistry(options: ForeignRegistryOptions): ForeignRegistry {
  const { address, credentials, isKnown, lookup } = options;
  const origin = registryOrigin(options);
  const http = createBoundedHttp({ isKnown, ...(lookup === undefined ? {} : { lookup }) });

  interface Question {
    readonly method: 'GET' | 'HEAD';
    readonly url: URL;
    readonly headers: Readonly<Record<string, string>>;
    readonly signal: AbortSignal | undefined;
    readonly most?: number;
  }

  async function ask({ method, url, headers, signal, most = mostBytes }: Question): Promise<BoundedAnswer> {
    try {
      return await http.ask({ method, url, headers, mostBytes: most, timeoutMs: requestMs, signal });
    } catch (error) {
      if (!(error instanceof BoundedHttpError)) throw error;
      throw new ProviderError(error.kind === 'refused' ? 'RegistryRefused' : 'RegistryUnavailable', error.message);
    }
  }

  async function authorize(challenge: string, signal: AbortSignal | undefined): Promise<string | undefined> {
    const basic = basicAuthorization(credentials);
    const url = tokenAddress(challenge);
    if (url === undefined) return basic;
    // A password is for what an operator has named, and for nobody that a registry names.
    const headers = basic !== undefined && isKnown(url.origin) ? { authorization: basic } : {};
    const answer = await ask({ method: 'GET', url, headers, signal });
    if (answer.status !== 200) return undefined;
    try {
      const token = tokenIn(JSON.parse(answer.body.toString('utf8')));
      return token === undefined ? undefined : `Bearer ${token}`;
    } catch {
      return undefined;
    }
  }

  /** What the registry has at a path of a repository; undefined where there is nothing. */
  async function get(
    what: string,
    { headers = {}, ...question }: Omit<Question, 'headers'> & Partial<Pick<Question, 'headers'>>,
  ): Promise<BoundedAnswer | undefined> {
    let answer = await ask({ ...question, headers });
    if (answer.status === 401) {
      const authorization = await authorize(answer.headers.get('www-authenticate') ?? '', question.signal);
      if (authorization !== undefined) answer = await ask({ ...question, headers: { ...headers, authorization } });
    }
    if (answer.status === 200) return answer;
    if (answer.status === 404) return undefined;
    const passing = answer.status === 429 || answer.status === 408 || answer.status >= 500;
    throw new ProviderError(
      passing ? 'RegistryUnavailable' : 'RegistryRefused',
      `${address} answered ${answer.status} for ${what}`,
    );
  }

  const at = (repository: string, path: string): URL => new URL(`/v2/${pathOf(repository)}/${path}`, origin);
  const manifestAt = (repository: string, reference: string): URL =>
    at(repository, `manifests/${encodeURIComponent(reference)}`);

  async function readFound(
    repository: string,
    reference: string,
    signal: AbortSignal | undefined,
  ): Promise<Found | undefined> {
    const what = `${repository}:${reference}`;
    const question = { url: manifestAt(repository, reference), headers: { accept: manifestTypes }, signal };
    const answer = await get(what, { ...question, method: 'GET', most: mostManifestBytes });
    if (answer === undefined) return undefined;
    const digest = digestOf(answer.body);
    if (reference.startsWith('sha256:') && digest !== reference) throw changed(what, digest);
    const mediaType = answer.headers.get('content-type') ?? '';
    return { digest, mediaType, sizeBytes: answer.body.length, content: parsed(Content, answer.body, what) };
  }

  function parsed<T>(form: z.ZodType<T>, body: Buffer, what: string): T {
    try {
      return form.parse(JSON.parse(body.toString('utf8')));
    } catch {
      throw new ProviderError('RegistryRefused', `${address} gives no manifest of ${what} that can be read`);
    }
  }

  function changed(what: string, held: string): ProviderError {
    return new ProviderError('DigestMismatch', `${address} gives ${held} for ${what}`, { details: { held } });
  }

  return {
    async readManifest(repository, reference, signal) {
      const question = { url: manifestAt(repository, reference), headers: { accept: manifestTypes }, signal };
      const answer = await get(`${repository}:${reference}`, { ...question, method: 'HEAD' });
      if (answer === undefined) return undefined;
      const digest = answer.headers.get('docker-content-digest') ?? '';
      // It is written into a Dockerfile: anything else could be one more line of it.
      if (!digestForm.test(digest)) {
        throw new ProviderError('RegistryRefused', `${address} gives no digest of ${repository}:${reference}`);
      }
      return {
        digest,
        mediaType: answer.headers.get('content-type') ?? '',
        sizeBytes: Number(answer.headers.get('content-length') ?? 0),
      };
    },

    async readContent(repository, reference, signal) {
      const found = await readFound(repository, reference, signal);
      if (found === undefined) return undefined;
      const { content, ...manifest } = found;
      const { config, layers = [], manifests = [] } = content;
      return {
        ...manifest,
        ...(config === undefined ? {} : { config: config.digest }),
        blobs: [...(config === undefined ? [] : [config]), ...layers].map((each) => ({
          digest: each.digest,
          sizeBytes: each.size,
        })),
        manifests: manifests.map((each) => each.digest),
      };
    },

    async readPlatforms(repository, digest, signal) {
      const found = await readFound(repository, digest, signal);
      if (found === undefined) return [];
      const { manifests, config } = found.content;
      const named = (platform: z.output<typeof Platform> | undefined, of: string) =>
        platform === undefined || platform.os === 'unknown'
          ? []
          : [{ platform: platformOf(platform.os, platform.architecture, platform.variant), digest: of }];
      if (manifests !== undefined) return manifests.flatMap((each) => named(each.platform, each.digest));
      if (config === undefined) return [];
      const what = `${repository}@${config.digest}`;
      const url = at(repository, `blobs/${config.digest}`);
      const answer = await get(what, { method: 'GET', url, signal, most: mostManifestBytes });
      if (answer === undefined) return [];
      const held = digestOf(answer.body);
      if (held !== config.digest) throw changed(what, held);
      return named(parsed(Platform, answer.body, what), digest);
    },
  };
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
