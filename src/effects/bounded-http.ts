import { lookup as lookUp } from 'node:dns';
import { type LookupFunction, isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { Agent, type Dispatcher, buildConnector, fetch as fetchBy } from 'undici';

/** Judgement: an index names a mirror, and that one its storage; more is a loop. */
const mostRedirects = 3;
/** To connect, ms. Judgement: what is further away than this is not there. */
const connectMs = 10_000;

/** One question to a server that somebody else may have named. */
export interface BoundedRequest {
  readonly url: URL;
  readonly method?: 'GET' | 'HEAD';
  readonly headers?: Readonly<Record<string, string>>;
  /** Of the answer once unpacked; what is longer is refused. */
  readonly mostBytes: number;
  /** For everything together, redirects among it, ms. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

export interface BoundedAnswer {
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  readonly body: Buffer;
}

/** Why there is no answer. `refused`: asking again will not help. */
export class BoundedHttpError extends Error {
  readonly kind: 'refused' | 'unreachable';

  constructor(kind: 'refused' | 'unreachable', message: string) {
    super(message);
    this.kind = kind;
  }
}

export interface BoundedHttpOptions {
  /**
   * Whether an operator has named this origin (`https://host:port`): it may be anywhere, this machine and plain HTTP included. Any other one
   * has to be https at an address that the whole internet has.
   */
  readonly isKnown: (origin: string) => boolean;
  /** Looks names up. Default: as the machine does. */
  readonly lookup?: Lookup;
}

export type Lookup = LookupFunction;

/** Asks servers, where what they are may come from a repository: neither the own network, nor more than is asked for, nor for ever. */
export interface BoundedHttp {
  /**
   * @throws {@link BoundedHttpError}
   * @throws the reason of `signal`.
   */
  ask(request: BoundedRequest): Promise<BoundedAnswer>;
}

export function createBoundedHttp({ isKnown, lookup }: BoundedHttpOptions): BoundedHttp {
  const own = new Agent({ connect: { timeout: connectMs } });
  const foreign = publicAgent(lookup);

  async function once(url: URL, request: BoundedRequest, signal: AbortSignal, headers: Record<string, string>) {
    const known = isKnown(url.origin);
    if (!known && url.protocol !== 'https:') {
      throw new BoundedHttpError('refused', `${url.host} would be asked without TLS`);
    }
    if (url.username !== '' || url.password !== '') {
      throw new BoundedHttpError('refused', `the address at ${url.host} holds a password`);
    }
    return await fetchBy(url, {
      method: request.method ?? 'GET',
      headers,
      redirect: 'manual',
      signal,
      dispatcher: known ? own : foreign,
    });
  }

  async function follow(request: BoundedRequest, signal: AbortSignal): Promise<BoundedAnswer> {
    let { url } = request;
    let headers: Record<string, string> = { 'user-agent': 'slipway', ...request.headers };
    for (let hops = 0; ; hops += 1) {
      const response = await once(url, request, signal, headers);
      const location = response.headers.get('location');
      if (![301, 302, 303, 307, 308].includes(response.status) || location === null) {
        const body = await limited(response.body, request.mostBytes, url);
        return { status: response.status, headers: response.headers, body };
      }
      await response.body?.cancel();
      if (hops === mostRedirects) {
        throw new BoundedHttpError('refused', `${request.url.host} redirects more than ${mostRedirects} times`);
      }
      const next = URL.parse(location, url.href);
      if (next === null) throw new BoundedHttpError('refused', `${url.host} redirects to what is no address`);
      // What was given for one server is not for the next one.
      if (next.origin !== url.origin) {
        headers = Object.fromEntries(
          Object.entries(headers).filter(([name]) => name.toLowerCase() !== 'authorization'),
        );
      }
      url = next;
    }
  }

  return {
    async ask(request) {
      const late = AbortSignal.timeout(request.timeoutMs);
      const signal = request.signal === undefined ? late : AbortSignal.any([request.signal, late]);
      try {
        return await follow(request, signal);
      } catch (error) {
        if (request.signal?.aborted === true) throw request.signal.reason;
        if (error instanceof BoundedHttpError) throw error;
        const refusal = causes(error).find((cause) => cause instanceof BoundedHttpError);
        if (refusal !== undefined) throw refusal;
        throw new BoundedHttpError(
          'unreachable',
          late.aborted
            ? `${request.url.host} has not answered within ${request.timeoutMs / 1_000} s`
            : `${request.url.host} does not answer: ${reasonOf(error)}`,
        );
      }
    },
  };
}

/** Whether anybody may have this address: not this machine's, not a private network's, none for a special purpose. */
export function isPublicAddress(address: string): boolean {
  return ipaddr.isValid(address) && ipaddr.process(address).range() === 'unicast';
}

/** Connects to public addresses alone. What was looked up is what is connected to: a name cannot mean something else a moment later. */
function publicAgent(find: Lookup = lookUp): Dispatcher {
  const connect = buildConnector({
    timeout: connectMs,
    lookup(hostname, options, done) {
      const checked: typeof done = (error, address, family) => {
        if (error !== null) return done(error, address, family);
        const all = typeof address === 'string' ? [address] : address.map((each) => each.address);
        if (all.length > 0 && all.every(isPublicAddress)) return done(null, address, family);
        return done(privateAddress(hostname), address, family);
      };
      find(hostname, options, checked);
    },
  });
  return new Agent({
    connect(options, done) {
      const host = options.hostname.replace(/^\[|\]$/g, '');
      // An address is not looked up.
      if (isIP(host) !== 0 && !isPublicAddress(host)) {
        done(privateAddress(host), null);
        return;
      }
      connect(options, done);
    },
  });
}

function privateAddress(host: string): BoundedHttpError {
  return new BoundedHttpError(
    'refused',
    `${host} is at an address of this machine or a private network, and project.yaml does not name it`,
  );
}

async function limited(body: AsyncIterable<unknown> | null, mostBytes: number, url: URL): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of (body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += part.byteLength;
    if (bytes > mostBytes)
      throw new BoundedHttpError('refused', `${url.host} answered with more than ${mostBytes} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts);
}

function causes(error: unknown): readonly unknown[] {
  const found: unknown[] = [];
  for (let each = error; each instanceof Error && found.length < 5; each = each.cause) found.push(each);
  return found;
}

function reasonOf(error: unknown): string {
  const cause = causes(error).at(-1);
  const code = (cause as { readonly code?: unknown } | undefined)?.code;
  return typeof code === 'string' ? code : cause instanceof Error ? cause.message : String(error);
}
