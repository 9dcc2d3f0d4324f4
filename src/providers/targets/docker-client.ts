import type Docker from 'dockerode';
import { ProviderError } from '../../domain/failures.ts';

/** How an engine is reached. */
export interface DockerConnection {
  /** As in DOCKER_HOST: `unix:///var/run/docker.sock` or `tcp://host:port`. */
  readonly address: string;
}

/** Opens a client; the package is loaded at the first call. */
export async function connectDocker(connection: DockerConnection): Promise<Docker> {
  const { default: Client } = await import('dockerode');
  const { address } = connection;
  if (address.startsWith('unix://')) return new Client({ socketPath: address.slice('unix://'.length) });
  const { hostname, port, protocol } = new URL(address);
  return new Client({
    host: hostname,
    port: port === '' ? 2375 : Number(port),
    protocol: protocol === 'https:' ? 'https' : 'http',
  });
}

interface EngineError extends Error {
  readonly statusCode?: number;
  readonly code?: string;
  readonly json?: { readonly message?: string } | null;
}

/** HTTP status that the engine answered with; undefined when it did not answer. */
export function statusOf(error: unknown): number | undefined {
  return error instanceof Error ? (error as EngineError).statusCode : undefined;
}

/** The engine's own words. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return (error as EngineError).json?.message ?? error.message;
}

/**
 * Runs one call to the engine and turns what it throws into `EngineUnavailable` or `EngineRefused`. Errors that are typed already, and
 * the reason of an aborted signal, pass.
 *
 * @param what - what was being done, as it reads after "could not".
 */
export async function askEngine<T>(what: string, call: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  try {
    return await call();
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof ProviderError) throw error;
    throw toProviderError(what, error);
  }
}

/** The same for an error at hand. */
export function toProviderError(what: string, error: unknown): ProviderError {
  const status = statusOf(error);
  const reason = reasonOf(error);
  // Without a status nobody answered; 5xx of the proxy of an engine that is going down reads the same to us.
  return status === undefined || status === 502 || status === 503
    ? new ProviderError('EngineUnavailable', `could not ${what}: the engine does not answer (${reason})`, {
        cause: error,
      })
    : new ProviderError('EngineRefused', `could not ${what}: ${reason}`, {
        details: { status },
        cause: error,
        // 500 covers what may pass, such as a device that is still busy.
        nonRetryable: status < 500,
      });
}
