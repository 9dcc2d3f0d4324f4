import type Docker from 'dockerode';
import { ProviderError } from '../../domain/failures.ts';

/** A client of the engine at an address as in DOCKER_HOST: `unix:///…` or `tcp://…`. The package is loaded by the first call. */
export async function connectEngine(address: string): Promise<Docker> {
  const { default: Client } = await import('dockerode');
  if (address.startsWith('unix://')) return new Client({ socketPath: address.slice('unix://'.length) });
  const { hostname, port, protocol } = new URL(address);
  return new Client({ host: hostname, port: port || 2375, protocol: protocol === 'https:' ? 'https' : 'http' });
}

/** One event of a build, pull or push. */
export interface EngineEvent {
  readonly stream?: string;
  readonly status?: string;
  readonly id?: string;
  readonly progress?: string;
  readonly error?: string;
  readonly errorDetail?: { readonly code?: number; readonly message?: string };
  readonly aux?: { readonly ID?: string; readonly Tag?: string; readonly Digest?: string; readonly Size?: number };
}

/** An event that says that the work failed. The engine answers 200 all the same, and its stream ends as that of a success does. */
export class EngineEventError extends Error {
  override readonly name = 'EngineEventError';
  readonly code: number | undefined;

  constructor(event: EngineEvent) {
    super(event.errorDetail?.message ?? event.error ?? 'the engine gave no reason');
    this.code = event.errorDetail?.code;
  }
}

/** More than any event of the engine; a longer line is no event. */
const maxLineBytes = 4 * 1024 * 1024;

/**
 * Reads the events of a build, pull or push, holding one line at a time.
 *
 * dockerode's own `followProgress` takes a failed build for a success, loses a last line without an end, and keeps all of them.
 *
 * @throws EngineEventError - an event says that the work failed; the events before it were given.
 * @throws Error - the connection broke, or what came is no event.
 */
export async function* readEvents(stream: AsyncIterable<Buffer | string>): AsyncGenerator<EngineEvent> {
  let rest = '';
  const decoder = new TextDecoder();
  for await (const chunk of stream) {
    rest += typeof chunk === 'string' ? chunk : decoder.decode(chunk, { stream: true });
    let from = 0;
    for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n', from)) {
      yield* parse(rest.slice(from, end));
      from = end + 1;
    }
    rest = rest.slice(from);
    if (rest.length > maxLineBytes) throw new Error('the engine sent something that is no event');
  }
  yield* parse(rest + decoder.decode());
}

function* parse(line: string): Generator<EngineEvent> {
  if (line.trim() === '') return;
  let event: EngineEvent;
  try {
    event = JSON.parse(line) as EngineEvent;
  } catch {
    throw new Error(`the stream of the engine was cut in the middle of an event: ${line.slice(0, 80)}`);
  }
  if (event.error !== undefined || event.errorDetail !== undefined) throw new EngineEventError(event);
  yield event;
}

const gone = /ECONNREFUSED|ENOENT|ECONNRESET|EPIPE|EACCES|socket hang up|aborted|cut in the middle|terminated/;

/** Whether an error says that the engine is not there, or went away in the middle. */
export function isEngineGone(error: unknown): boolean {
  if (error instanceof EngineEventError) return false;
  const code = (error as { readonly code?: unknown } | null)?.code;
  return (
    gone.test(typeof code === 'string' ? code : '') || (statusOf(error) === undefined && gone.test(messageOf(error)))
  );
}

/** Status that the engine answered with; undefined where it did not answer. */
export function statusOf(error: unknown): number | undefined {
  const status = (error as { readonly statusCode?: unknown } | null)?.statusCode;
  return typeof status === 'number' ? status : undefined;
}

/** What the engine said, without what the client puts round it. */
export function messageOf(error: unknown): string {
  const json = (error as { readonly json?: { readonly message?: unknown } } | null)?.json;
  if (typeof json?.message === 'string') return json.message;
  const message = error instanceof Error ? error.message : String(error);
  return message.replace(/^\(HTTP code \d+\) [^-]* - /, '').trim();
}

/** Gives an error of the engine its type. @param doing - what was tried, as it reads after "could not". */
export function engineError(error: unknown, doing: string): Error {
  if (error instanceof ProviderError || (error instanceof Error && error.name === 'AbortError')) return error;
  if (isEngineGone(error)) {
    return new ProviderError('EngineUnavailable', `the engine went away; could not ${doing}`, { cause: error });
  }
  return new ProviderError('EngineRefused', `could not ${doing}: ${messageOf(error)}`, { cause: error });
}

/** What an engine says of its progress, as a line. */
export function progressLine(event: EngineEvent): string {
  return event.id === undefined ? (event.status ?? '') : `${event.id}: ${event.status ?? ''}`;
}

/** Whether an image is named with its registry. By the rule of Docker: the first part is a host where it has a dot or a port, or is `localhost`. */
export function namesRegistry(reference: string): boolean {
  const [host = '', ...rest] = reference.split('/');
  return rest.length > 0 && (/[.:]/.test(host) || host === 'localhost');
}
