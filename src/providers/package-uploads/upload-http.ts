import { ProviderError } from '../../domain/failures.ts';
import { type Redactor, createRedactor } from '../../effects/redact.ts';
import type { IndexLogin, PackageUploadOptions } from './port.ts';

/** Of an answer, bytes. Judgement: the list of a package with thousands of versions has some megabytes. */
const longestAnswer = 64 * 2 ** 20;
/** Of what an index says, characters in a message. */
const shown = 300;

/** Judgement: one adds a slash, one the way to the newest form of its pages; more is a loop. */
const mostRedirects = 3;

export const defaultAskMs = 30_000;
export const defaultUploadMs = 300_000;

/** An index over HTTP, its refusals told apart by whether asking again may help. */
export interface UploadHttp {
  readonly redactor: Redactor;
  /**
   * Follows no redirect to another server: what that one holds, this one does not.
   *
   * @returns the text of a 200; undefined for a 404, and where it sends whoever asks to another server.
   * @throws ProviderError `IndexRefused`, `IndexUnavailable`
   */
  ask(address: string, accept: string, signal: AbortSignal): Promise<string | undefined>;
  /** @throws as {@link UploadHttp.ask} */
  post(address: string, body: FormData, signal: AbortSignal): Promise<void>;
  /** The failure of an answer that is no success. */
  refusal(what: string, status: number, words: string): ProviderError;
  /** The failure of no answer at all. */
  silence(what: string, error: unknown): ProviderError;
}

export function createUploadHttp(options: PackageUploadOptions): UploadHttp {
  const { name, login, askTimeoutMs = defaultAskMs, uploadTimeoutMs = defaultUploadMs } = options;
  const redactor = createRedactor(secretsOf(login));
  const authorization = login === undefined ? {} : { authorization: basic(login) };
  const details = { index: name };

  function refusal(what: string, status: number, words: string): ProviderError {
    const text = redactor
      .text(words.slice(0, 10 * shown))
      .replace(/\s+/g, ' ')
      .trim()
      .slice(0, shown);
    const passing = status >= 500 || [408, 409, 425, 429].includes(status);
    const login = status === 401 || status === 403 ? ', by the rights of its token' : '';
    return new ProviderError(
      passing ? 'IndexUnavailable' : 'IndexRefused',
      `the index ${name} refused ${what}${login}: ${status}${text === '' ? '' : ` ${text}`}`,
      { details: { ...details, status } },
    );
  }

  function silence(what: string, error: unknown): ProviderError {
    const late = (error as { readonly name?: unknown }).name === 'TimeoutError';
    const why = late ? 'no answer in time' : `the connection failed (${codeOf(error)})`;
    return new ProviderError('IndexUnavailable', `the index ${name} could not be told ${what}: ${why}`, { details });
  }

  async function send(
    what: string,
    address: string,
    { accept, ...init }: Omit<RequestInit, 'headers'> & { readonly accept?: string },
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<{
    readonly status: number;
    readonly ok: boolean;
    readonly text: string;
    readonly location: string | null;
  }> {
    try {
      const response = await fetch(address, {
        ...init,
        headers: { ...(accept === undefined ? {} : { accept }), ...authorization, 'user-agent': 'slipway' },
        signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
      });
      const { status, ok, headers } = response;
      return { status, ok, text: await limited(response), location: headers.get('location') };
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof ProviderError) throw error;
      throw silence(what, error);
    }
  }

  async function limited(response: Response): Promise<string> {
    const parts: Uint8Array[] = [];
    let length = 0;
    for await (const part of (response.body ?? []) as AsyncIterable<Uint8Array>) {
      length += part.byteLength;
      if (length > longestAnswer) {
        throw new ProviderError('IndexRefused', `the index ${name} answers with more than ${longestAnswer} bytes`, {
          details,
        });
      }
      parts.push(part);
    }
    return Buffer.concat(parts).toString('utf8');
  }

  return {
    redactor,
    refusal,
    silence,
    async ask(address, accept, signal) {
      const init = { accept, redirect: 'manual' } as const;
      let asked = new URL(address);
      for (let hops = 0; hops <= mostRedirects; hops += 1) {
        const { status, ok, text, location } = await send(
          'what is asked of it',
          asked.href,
          init,
          askTimeoutMs,
          signal,
        );
        if (ok) return text;
        if (status === 404) return undefined;
        const next = status >= 300 && status < 400 && location !== null ? URL.parse(location, asked.href) : null;
        if (next === null) throw refusal('to be asked', status, text);
        if (next.origin !== asked.origin) return undefined;
        asked = next;
      }
      throw new ProviderError('IndexRefused', `the index ${name} redirects more than ${mostRedirects} times`, {
        details,
      });
    },
    async post(address, body, signal) {
      // Elsewhere the login would go along, or the body would not.
      const init = { method: 'POST', body, redirect: 'error' } as const;
      const { status, ok, text } = await send('of an upload', address, init, uploadTimeoutMs, signal);
      if (!ok) throw refusal('the upload', status, text);
    },
  };
}

/** Every form in which a login may be repeated by an index. */
function secretsOf(login: IndexLogin | undefined): readonly string[] {
  if (login === undefined) return [];
  return [login.kind === 'token' ? login.token : login.password, basic(login).slice('Basic '.length)];
}

/** A token is a password with a name that stands for none. @see https://docs.pypi.org/api/upload/ */
export function basic(login: IndexLogin): string {
  const [user, password] = login.kind === 'token' ? ['__token__', login.token] : [login.username, login.password];
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}

function codeOf(error: unknown): string {
  const { code, cause } = error as { readonly code?: unknown; readonly cause?: { readonly code?: unknown } };
  const found = code ?? cause?.code;
  return typeof found === 'string' ? found : 'no reason given';
}
