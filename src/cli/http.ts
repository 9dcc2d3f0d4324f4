import { createParser } from 'eventsource-parser';
import { CliError, type NextCommand, endingOfStatus } from './exit.ts';
import type { Connection } from './settings.ts';

/** An RFC 9457 problem document as the API sends it. */
interface Problem {
  readonly type?: string;
  readonly title?: string;
  readonly detail?: string;
  readonly errors?: readonly { readonly pointer?: string; readonly detail?: string }[];
  readonly [field: string]: unknown;
}

export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

/** One event of a stream. */
export interface ServerEvent {
  readonly id?: string | undefined;
  readonly event?: string | undefined;
  readonly data: string;
}

/** Requests to the API; whatever it refuses is thrown as a {@link CliError} with the exit status that belongs to it. */
export interface Http {
  readonly connection: Connection;
  get<T>(path: string, query?: Query): Promise<T>;
  /** The body as it is, for logs and other texts; as long as it takes, while something comes. */
  getText(path: string, query?: Query): Promise<string>;
  /** The body as it comes, for files. */
  getBody(path: string, signal: AbortSignal): Promise<ReadableStream<Uint8Array>>;
  post<T>(path: string, body: unknown): Promise<T>;
  /** Events until the server ends the stream or `signal` aborts; begins again where it broke off. */
  stream(path: string, signal: AbortSignal): AsyncGenerator<ServerEvent>;
}

/** Of a request, and of what a text of any length may stand still in the middle. Judgement. */
const requestTimeoutMs = 30_000;
const streamTries = 5;

export interface HttpOptions {
  /** Ends what is being read; what was asked for with POST is waited for, for else nobody would know whether it was done. */
  readonly stop?: AbortSignal | undefined;
  /** Default 30 s. */
  readonly timeoutMs?: number;
}

/**
 * @throws CliError `interrupted` - of everything that reads, when `stop` was aborted.
 * @throws CliError `errored` - nothing answers, or nothing came for the time given.
 */
export function createHttp(connection: Connection, { stop, timeoutMs = requestTimeoutMs }: HttpOptions = {}): Http {
  const send = async (path: string, init: RequestInit, query: Query = {}): Promise<Response> => {
    const url = new URL(`${connection.url}${path}`);
    for (const [name, value] of Object.entries(query))
      if (value !== undefined) url.searchParams.set(name, String(value));
    let response: Response;
    try {
      response = await fetch(url, {
        ...init,
        headers: {
          authorization: `Bearer ${connection.token}`,
          ...(init.headers as Record<string, string> | undefined),
        },
      });
    } catch (error) {
      throw broken(error, init.signal ?? undefined);
    }
    if (!response.ok) throw await refusal(response, connection);
    return response;
  };
  const timeout = (): AbortSignal => AbortSignal.timeout(timeoutMs);
  /** What a request that came to nothing ends the command with. */
  const broken = (error: unknown, signal: AbortSignal | undefined): unknown => {
    if (stop !== undefined && isAborted(stop)) return stopped();
    const own = signal?.aborted === true && (signal.reason as { name?: unknown } | undefined)?.name === 'AbortError';
    return own ? error : unreachable(connection, error);
  };
  const reading = (end: AbortSignal): AbortSignal => (stop === undefined ? end : AbortSignal.any([stop, end]));
  return {
    connection,
    async get<T>(path: string, query?: Query) {
      const signal = reading(timeout());
      const response = await send(path, { signal }, query);
      try {
        return (await response.json()) as T;
      } catch (error) {
        throw signal.aborted ? broken(error, signal) : error;
      }
    },
    async getText(path, query) {
      const still = new AbortController();
      const giveUp = (): void => still.abort(new DOMException(`nothing came for ${timeoutMs} ms`, 'TimeoutError'));
      const timer = setTimeout(giveUp, timeoutMs);
      const signal = reading(still.signal);
      try {
        const { body } = await send(path, { signal }, query);
        const pieces: Uint8Array[] = [];
        if (body === null) return '';
        for await (const piece of body as ReadableStream<Uint8Array>) {
          pieces.push(piece);
          timer.refresh();
        }
        return Buffer.concat(pieces).toString('utf8');
      } catch (error) {
        throw error instanceof CliError ? error : broken(error, signal);
      } finally {
        clearTimeout(timer);
      }
    },
    getBody: async (path, signal) => (await send(path, { signal })).body ?? new ReadableStream<Uint8Array>(),
    post: async <T>(path: string, body: unknown) => {
      const headers = { 'content-type': 'application/json' };
      const response = await send(path, { method: 'POST', body: JSON.stringify(body), headers, signal: timeout() });
      const text = await response.text();
      return (text === '' ? undefined : JSON.parse(text)) as T;
    },
    async *stream(path, signal) {
      let lastId: string | undefined;
      for (let failures = 0; failures < streamTries && !signal.aborted;) {
        try {
          const headers = { accept: 'text/event-stream', ...(lastId === undefined ? {} : { 'last-event-id': lastId }) };
          const response = await send(path, { headers, signal });
          if (response.body === null) return;
          for await (const event of parseEvents(response.body)) {
            failures = 0;
            lastId = event.id ?? lastId;
            yield event;
          }
          return;
        } catch (error) {
          // The caller's own end is no failure.
          if (isAborted(signal)) return;
          failures += 1;
          if (failures === streamTries || (error instanceof CliError && error.ending !== 'errored')) throw error;
          await new Promise((resolve) => setTimeout(resolve, 250 * 2 ** failures));
        }
      }
    },
  };
}

function stopped(): CliError {
  return new CliError('interrupted', 'Stopped while the API was being read; nothing was changed by this.');
}

/** A function, for the compiler does not know that it can change between two looks. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}

async function* parseEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerEvent> {
  const ready: ServerEvent[] = [];
  const parser = createParser({ onEvent: (event) => ready.push(event) });
  const decoder = new TextDecoder();
  for await (const chunk of body) {
    parser.feed(decoder.decode(chunk, { stream: true }));
    yield* ready.splice(0);
  }
}

function unreachable(connection: Connection, error: unknown): CliError {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const reason = cause instanceof Error ? ((cause as NodeJS.ErrnoException).code ?? cause.message) : String(cause);
  return new CliError('errored', `The API at ${connection.url} does not answer (${reason}).`, {
    type: 'api-unreachable',
    next: [
      {
        command: 'slipway up',
        when: `to start the installation on this machine; the address comes from ${connection.source}`,
      },
    ],
  });
}

async function refusal(response: Response, connection: Connection): Promise<CliError> {
  const text = await response.text();
  let problem: Problem = {};
  try {
    problem = JSON.parse(text) as Problem;
  } catch {
    problem = { detail: `The API answered with status ${response.status}: ${text.slice(0, 200)}` };
  }
  const fields = (problem.errors ?? []).map(({ pointer, detail }) => `\n  ${pointer ?? ''} ${detail ?? ''}`).join('');
  const said = problem.detail ?? problem.title ?? `The API answered with status ${response.status}.`;
  const type = (problem.type ?? 'problem').split(/[/:]/).at(-1) ?? 'problem';
  const refused = response.status === 401;
  const given = `The token came from ${connection.tokenSource ?? connection.source}.`;
  return new CliError(endingOfStatus(response.status), refused ? `${said} ${given}` : `${said}${fields}`, {
    type,
    detail: problem,
    next: refused ? newToken(connection) : [],
  });
}

function newToken({ tokenSource: source = '' }: Connection): NextCommand[] {
  if (!source.endsWith('.json')) {
    return [
      { command: 'slipway token create … --role …', when: 'to have a new one, with the token of an administrator' },
    ];
  }
  return [{ command: 'slipway up', when: 'in the folder of the installation, to have a new one written there' }];
}
