import type Docker from 'dockerode';
import { backendName } from '../routers/haproxy-file.ts';
import { followLog } from '../targets/container-log.ts';
import type { RequestLog, RequestRecord } from './port.ts';

export interface HaproxyLogOptions {
  /** The engine that runs the router. */
  readonly docker: Docker;
  /** Name of the router's container. */
  readonly container: string;
}

/**
 * Reads the router's own log, one JSON object a request. The log rather than the statistics: those have only a mean over the last 1,024
 * requests, and their counters die with every reload.
 */
export function createHaproxyRequestLog({ docker, container }: HaproxyLogOptions): RequestLog {
  const find = async (): Promise<string | undefined> => {
    const { Id } = await docker.getContainer(container).inspect();
    return Id;
  };
  return {
    async *follow(route, since, signal, onPresent) {
      const backend = backendName(route);
      for await (const { text } of followLog(docker, find, since, signal, onPresent)) {
        const record = parseRequest(text, backend);
        if (record !== undefined) yield record;
      }
    },
  };
}

/** Fields of the log format that {@link ../routers/haproxy-file.ts} renders. */
interface LogLine {
  readonly at: number;
  readonly route: string;
  readonly server: string;
  readonly status: number;
  readonly ta: number;
  readonly ts: string;
  readonly by?: string;
}

/** Termination states in which it was the server that failed: `S` closed or refused, `s` timed out while we waited for it. */
const serverFault = /^[Ss]/;

/** @returns undefined for lines of other routes, for what is no request, and for probes: the watch judges by what users got. */
export function parseRequest(line: string, backend: string): RequestRecord | undefined {
  // Most lines of a shared router are other routes'; a look is cheaper than a parse.
  if (!line.startsWith('{') || !line.includes(`"route":"${backend}"`)) return undefined;
  let fields: Partial<LogLine>;
  try {
    fields = JSON.parse(line) as Partial<LogLine>;
  } catch {
    return undefined;
  }
  const { at, route, server, status, ta, ts, by } = fields;
  if (by === 'probe') return undefined;
  if (route !== backend || typeof at !== 'number' || typeof status !== 'number') return undefined;
  const colon = server?.indexOf(':') ?? -1;
  // `<NOSRV>`: no server was there to take it, which nobody's release has caused but every user sees.
  const release = server === undefined || colon < 0 ? '' : server.slice(colon + 1);
  const slot = server?.slice(0, Math.max(0, colon));
  return {
    atMs: at,
    release,
    ...(slot === 'blue' || slot === 'green' ? { slot } : {}),
    status: Math.max(0, status),
    totalMs: Math.max(0, ta ?? 0),
    broken: serverFault.test(ts ?? ''),
  };
}
