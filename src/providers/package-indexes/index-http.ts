import { ProviderError } from '../../domain/failures.ts';
import { type BoundedAnswer, BoundedHttpError, createBoundedHttp } from '../../effects/bounded-http.ts';
import type { PackageIndexOptions } from './port.ts';

/** Of one answer, bytes. Judgement: the largest pages of the public indexes have about 30 MB. */
const mostBytes = 64 * 2 ** 20;
/** Of one question, ms. Judgement: such a page over a slow line. */
const askMs = 60_000;

/** Asks an index for a page of it; undefined where it has none. */
export type AskIndex = (path: string, accept: string, signal?: AbortSignal) => Promise<BoundedAnswer | undefined>;

/**
 * The address of an index is an operator's word and may be anywhere; what it redirects to has to be public.
 *
 * @throws `IndexRefused` (not retried), `IndexUnavailable` (retried)
 */
export function createIndexHttp({ url, authorization }: PackageIndexOptions): AskIndex {
  const { origin, host } = new URL(url);
  const http = createBoundedHttp({ isKnown: (asked) => asked === origin });
  return async (path, accept, signal) => {
    let answer: BoundedAnswer;
    try {
      answer = await http.ask({
        url: new URL(`${url}/${path}`),
        headers: { accept, ...(authorization === undefined ? {} : { authorization }) },
        mostBytes,
        timeoutMs: askMs,
        signal,
      });
    } catch (error) {
      if (!(error instanceof BoundedHttpError)) throw error;
      throw new ProviderError(error.kind === 'refused' ? 'IndexRefused' : 'IndexUnavailable', error.message);
    }
    if (answer.status === 404 || answer.status === 410) return undefined;
    if (answer.status >= 200 && answer.status < 300) return answer;
    const passing = answer.status >= 500 || answer.status === 429 || answer.status === 408;
    throw new ProviderError(
      passing ? 'IndexUnavailable' : 'IndexRefused',
      `${host} answered ${answer.status} to ${path}`,
    );
  };
}

/** @throws `IndexRefused` (not retried) */
export function notAsDocumented(url: string, path: string): ProviderError {
  return new ProviderError('IndexRefused', `the answer of ${new URL(url).host} to ${path} is not as its protocol says`);
}
