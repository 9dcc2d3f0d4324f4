import { setTimeout as pause } from 'node:timers/promises';
import type { z } from 'zod';
import { ProviderError } from '../../domain/failures.ts';
import type { ForgeApiOptions } from './port.ts';

/** Before it is asked once more, ms: that of the GitHub client beside this. */
const pauseMs = 250;
/** Of an answer, bytes: a hundred comments of the longest that a forge takes. Judgement. */
const longestAnswer = 16_000_000;

/** A forge without a client of its makers: its JSON over fetch, each answer read by what its reference says. */
export interface ForgeHttp {
  ask<T>(method: Method, path: string, asked: Asked<T>): Promise<T>;
  /** As {@link ask}; undefined where the forge does not know it. */
  find<T>(path: string, asked: Asked<T>): Promise<T | undefined>;
  /** As {@link ask}; undefined where the token may not (403). */
  askIfAllowed<T>(method: Method, path: string, asked: Asked<T>): Promise<T | undefined>;
  /** A header of the answer; undefined where it has none of that name. */
  askHeader(path: string, name: string): Promise<string | undefined>;
  /**
   * One thing said to the forge, tried once more when it was at fault or out of quota for a moment: whole, so that what it has
   * done already is found then.
   */
  attempt<T>(work: () => Promise<T>): Promise<T>;
}

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH';

interface Asked<T> {
  readonly answer: z.ZodType<T>;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

export interface ForgeHttpOptions extends Pick<ForgeApiOptions, 'repository' | 'timeoutMs'> {
  /** For people: `Gitea`. */
  readonly forge: string;
  /** Address of the API, without a slash at the end. */
  readonly base: string;
  /** The whole header. */
  readonly authorization: string;
}

class Refusal extends Error {
  readonly status: number | undefined;

  constructor(message: string, status?: number) {
    super(message);
    this.status = status;
  }
}

export function createForgeHttp(options: ForgeHttpOptions): ForgeHttp {
  const { forge, base, authorization, repository, timeoutMs } = options;

  async function send(
    method: string,
    path: string,
    { query, body }: Omit<Asked<unknown>, 'answer'>,
  ): Promise<{ readonly headers: Headers; readonly content: unknown }> {
    const search = query === undefined ? '' : `?${new URLSearchParams(query).toString()}`;
    let response: Response;
    let text: string;
    try {
      response = await fetch(`${base}${path}${search}`, {
        method,
        headers: {
          accept: 'application/json',
          authorization,
          'user-agent': 'slipway',
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(timeoutMs),
        redirect: 'error',
      });
      text = await limited(response);
    } catch (error) {
      if (error instanceof Refusal) throw error;
      const timedOut = (error as { readonly name?: unknown }).name === 'TimeoutError';
      throw new Refusal(timedOut ? `no answer within ${timeoutMs} ms` : 'it cannot be reached');
    }
    if (!response.ok) throw new Refusal(`${response.status} ${text.slice(0, 300)}`, response.status);
    try {
      return { headers: response.headers, content: text === '' ? {} : JSON.parse(text) };
    } catch {
      throw new Refusal('its answer is no JSON');
    }
  }

  async function ask<T>(method: string, path: string, asked: Asked<T>): Promise<T> {
    const read = asked.answer.safeParse((await send(method, path, asked)).content);
    if (read.success) return read.data;
    throw new Refusal(`its answer to ${method} ${path} is not as its reference says`);
  }

  return {
    ask,
    async find(path, asked) {
      try {
        return await ask('GET', path, asked);
      } catch (error) {
        if (error instanceof Refusal && error.status === 404) return undefined;
        throw error;
      }
    },
    async askIfAllowed(method, path, asked) {
      try {
        return await ask(method, path, asked);
      } catch (error) {
        if (error instanceof Refusal && error.status === 403) return undefined;
        throw error;
      }
    },
    async askHeader(path, name) {
      return (await send('GET', path, {})).headers.get(name) ?? undefined;
    },
    async attempt(work) {
      for (let last = false; ; last = true) {
        try {
          return await work();
        } catch (error) {
          if (!(error instanceof Refusal)) throw error;
          const { status } = error;
          const refused = status !== undefined && status >= 400 && status < 500 && ![408, 409, 429].includes(status);
          if (refused || last) {
            throw new ProviderError(
              refused ? 'ForgeRefused' : 'ForgeUnavailable',
              `${forge} ${refused ? 'refused' : 'could not be told'} for ${repository}: ${error.message}`,
            );
          }
          await pause(pauseMs);
        }
      }
    },
  };
}

async function limited(response: Response): Promise<string> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    length += part.byteLength;
    if (length > longestAnswer) throw new Refusal(`its answer has more than ${longestAnswer} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}
