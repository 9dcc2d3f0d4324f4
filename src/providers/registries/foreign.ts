import { ProviderError } from '../../domain/failures.ts';
import { type BoundedAnswer, BoundedHttpError, type Lookup, createBoundedHttp } from '../../effects/bounded-http.ts';
import type { ImageRegistry, RegistryAddress } from './port.ts';
import { basicAuthorization, hostOf, manifestTypes, pathOf, tokenAddress, tokenIn } from './protocol.ts';

/** Of one request, ms. That of a registry of one's own. */
const requestMs = 15_000;
/** Of an answer, bytes: a token, or a sentence about an error. Judgement. */
const mostBytes = 256 * 1024;
const digestForm = /^sha256:[0-9a-f]{64}$/;

export interface ForeignRegistryOptions extends RegistryAddress {
  /** Origins that project.yaml names: they may be on this machine, in a private network, and without TLS. */
  readonly isKnown: (origin: string) => boolean;
  /** Looks names up. Default: as the machine does. */
  readonly lookup?: Lookup;
}

/** Origin of a registry: what `isKnown` is asked for. */
export function registryOrigin({ address, insecure }: Pick<RegistryAddress, 'address' | 'insecure'>): string {
  return new URL(`${insecure ? 'http' : 'https'}://${hostOf(address)}`).origin;
}

/**
 * A registry that is asked because a repository names it, which may be anybody's: it is told nothing but the name of an image, and neither it, nor
 * what it redirects to, nor the place that it says gives out tokens may be in the own network, answer for long or with much.
 */
export function createForeignRegistry(options: ForeignRegistryOptions): Pick<ImageRegistry, 'readManifest'> {
  const { address, credentials, isKnown, lookup } = options;
  const origin = registryOrigin(options);
  const http = createBoundedHttp({ isKnown, ...(lookup === undefined ? {} : { lookup }) });

  async function ask(
    method: 'GET' | 'HEAD',
    url: URL,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal | undefined,
  ): Promise<BoundedAnswer> {
    try {
      return await http.ask({ method, url, headers, mostBytes, timeoutMs: requestMs, signal });
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
    const answer = await ask('GET', url, headers, signal);
    if (answer.status !== 200) return undefined;
    try {
      const token = tokenIn(JSON.parse(answer.body.toString('utf8')));
      return token === undefined ? undefined : `Bearer ${token}`;
    } catch {
      return undefined;
    }
  }

  return {
    async readManifest(repository, reference, signal) {
      const url = new URL(`/v2/${pathOf(repository)}/manifests/${encodeURIComponent(reference)}`, origin);
      let answer = await ask('HEAD', url, { accept: manifestTypes }, signal);
      if (answer.status === 401) {
        const authorization = await authorize(answer.headers.get('www-authenticate') ?? '', signal);
        if (authorization !== undefined)
          answer = await ask('HEAD', url, { accept: manifestTypes, authorization }, signal);
      }
      if (answer.status === 404) return undefined;
      if (answer.status !== 200) {
        const passing = answer.status === 429 || answer.status === 408 || answer.status >= 500;
        throw new ProviderError(
          passing ? 'RegistryUnavailable' : 'RegistryRefused',
          `${address} answered ${answer.status} for ${repository}:${reference}`,
        );
      }
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
  };
}
