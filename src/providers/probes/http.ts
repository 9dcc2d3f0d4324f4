import type { HttpProbeSpec } from '../../definition/specs/probe.ts';
import { probeAgent } from './agent.ts';
import type { Probe, ProbeTry } from './port.ts';

/** What is read of a body at most, bytes. A health page is small; a hostile one shall not fill the worker. */
const largestBodyBytes = 64 * 1024;

/** A request to the service, through the router or past it, must be answered as the definition says. */
export function createHttpProbe(spec: HttpProbeSpec): Probe {
  return {
    name: spec.name,
    async check(subject, signal) {
      const url = `http://${subject.address}${spec.path}`;
      const began = performance.now();
      const took = (): string => `${Math.round(performance.now() - began)} ms`;
      try {
        const response = await fetch(url, {
          method: spec.method,
          redirect: 'manual',
          // A connection kept from the slot's former release would ask that one.
          headers: { connection: 'close', 'user-agent': probeAgent },
          signal,
        });
        const body = await readSome(response);
        const problem = wrongWith(spec, subject.version, response.status, body);
        const answer = `${spec.method} ${url}: ${response.status} in ${took()}`;
        if (problem === undefined) return { verdict: 'passed', detail: answer };
        const { what, said } = problem;
        return { verdict: 'failed', detail: `${answer}, ${what}`, ...(said === undefined ? {} : { said }) };
      } catch (error) {
        if (signal.aborted && !isTimeout(signal.reason)) throw signal.reason;
        return { verdict: 'failed', detail: `${spec.method} ${url}: ${why(error)} after ${took()}` } satisfies ProbeTry;
      }
    },
  };
}

/** What is wrong in our own words, and what the service said in its. */
interface Problem {
  readonly what: string;
  readonly said?: string;
}

function wrongWith(spec: HttpProbeSpec, version: string, status: number, body: string): Problem | undefined {
  if (status !== spec.expectStatus) {
    const said = body.trim();
    return { what: `expected ${spec.expectStatus}`, ...(said === '' ? {} : { said }) };
  }
  if (spec.expectBody !== undefined && !body.includes(spec.expectBody)) {
    return { what: `the body lacks "${spec.expectBody}"` };
  }
  if (spec.versionField === undefined) return undefined;
  const found = fieldOf(body, spec.versionField);
  if (found === version) return undefined;
  return found === undefined
    ? { what: `${spec.versionField} is missing, expected ${version}` }
    : { what: `${spec.versionField} is another than the expected ${version}`, said: JSON.stringify(found) };
}

function fieldOf(body: string, field: string): unknown {
  try {
    const parsed: unknown = JSON.parse(body);
    return typeof parsed === 'object' && parsed !== null ? (parsed as Record<string, unknown>)[field] : undefined;
  } catch {
    return undefined;
  }
}

async function readSome(response: Response): Promise<string> {
  if (response.body === null) return '';
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  const chunks: Uint8Array[] = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    chunks.push(value);
    size += value.byteLength;
    if (size >= largestBodyBytes) {
      await reader.cancel();
      break;
    }
  }
  return Buffer.concat(chunks).subarray(0, largestBodyBytes).toString('utf8');
}

function isTimeout(reason: unknown): boolean {
  return nameOf(reason) === 'TimeoutError';
}

function why(error: unknown): string {
  if (isTimeout(error)) return 'no answer in time';
  // fetch says only that it failed; the code of the socket is with its cause.
  const { cause, message } = error as {
    readonly cause?: { readonly code?: string; readonly message?: string };
    readonly message?: string;
  };
  return cause?.code ?? cause?.message ?? message ?? String(error);
}

/** By its name: what fetch throws need not be an Error of the realm that catches it. */
function nameOf(error: unknown): unknown {
  return typeof error === 'object' && error !== null && 'name' in error ? error.name : undefined;
}
