import { createHash } from 'node:crypto';
import { probeAgent } from '../probes/agent.ts';
import type { Route, RouteRef, RouteServer } from './port.ts';

/** Paths and limits of the file that is loaded before every route. */
export interface GlobalSettings {
  /** Unix socket of the runtime API, as the router itself sees it. */
  readonly statsSocket: string;
  /** Longest life of a worker that finishes its sessions after a reload, ms. Default 1 hour (judgement: longer than any drain limit). */
  readonly hardStopMs?: number;
  /** How long a connection of a user may be idle, ms; more than {@link toldIdleS}. Default 5,000 (judgement: it is also what a drain may cost). */
  readonly keepAliveMs?: number;
  /** Most open files; about half as many connections. Default 20,000: never beyond what the machine allows, and no memory for a million. */
  readonly maxFiles?: number;
}

/**
 * How long a client hears that a connection may be idle, s. Less than the router waits: who is told nothing, or what the service said to the
 * router, sends its next request just as the router closes, and gets no answer. A second is what a request may take to arrive (judgement).
 */
export const toldIdleS = 4;

/** Name of the file that must be loaded first; routes follow in lexical order. */
export const globalFileName = '00-global.cfg';

/**
 * The fields of one request, one JSON object a line; {@link ../metrics/haproxy-log.ts} reads them.
 *
 * `at` is the moment of completion in ms since 1970; `ta` total, `tq` queue, `tc` connect and `tr` response time in ms (-1: never got there);
 * `by` is `probe` for a request of Slipway's own, which says nothing of what users get.
 */
const logFormat =
  '{"at":%[date(0,ms)],"route":"%b","server":"%s","status":%ST,"ta":%Ta,"tq":%Tw,"tc":%Tc,"tr":%Tr,"ts":"%tsc","retries":"%rc","in":%U,"out":%B,"method":"%HM","by":"%[var(txn.by)]"}';

/**
 * Renders `00-global.cfg`: the log to stdout, the runtime API and the defaults of all routes.
 *
 * The router is started as `haproxy -W -S <master socket> -f <folder>`; see {@link haproxyArguments}.
 */
export function renderGlobal(settings: GlobalSettings): string {
  return `# Rendered by Slipway. Changes made here are overwritten when the router is set up again.
global
  log stdout format raw local0 info
  stats socket ${settings.statsSocket} mode 600 level admin expose-fd listeners
  fd-hard-limit ${settings.maxFiles ?? 20_000}
  hard-stop-after ${settings.hardStopMs ?? 3_600_000}ms

defaults
  mode http
  log global
  log-format '${logFormat}'
  # A kept-alive connection must not be closed under a client that is just sending its next request: only after its next response.
  option idle-close-on-response
  # Kept alive towards users, and never towards a service: one that closes what was idle for its own while may do so just as the next request is
  # on its way, and nobody knows then whether that was worked on. A connection of its own that is refused was sent nothing, so it is tried again.
  option http-server-close
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  timeout check 3s
  timeout queue 10s
  timeout http-request 10s
  timeout http-keep-alive ${settings.keepAliveMs ?? 5_000}ms
  # Only what was never sent to a server is sent again, to another server where there is one: safe for every method. An answer that did not come
  # is an error of the release that had the request: had the backup answer in its place, the watch would see none.
  retries 3
  retry-on conn-failure
  option redispatch 1
`;
}

/** Arguments that the router's program is started with: master and worker, so that a reload loses nothing. */
export function haproxyArguments(paths: { readonly configFolder: string; readonly masterSocket: string }): string[] {
  return ['-W', '-S', `${paths.masterSocket},mode,600`, '-f', paths.configFolder];
}

/** File name of a route within the folder. */
export function routeFileName(ref: RouteRef): string {
  return `50-${ref.project}--${ref.environment}.cfg`;
}

/** Name of the route's backend: stable, so that a worker finishing after a reload knows it by the same name. */
export function backendName(ref: RouteRef): string {
  return `${ref.project}:${ref.environment}`;
}

/** A release's version in characters that a server name may hold. */
export function releaseSlug(release: string): string {
  return release.replace(/[^A-Za-z0-9_.-]/g, '_');
}

/** Name of the server of a slot: it is what the log says, and tells the release. */
export function serverName(server: Pick<RouteServer, 'slot' | 'release'>): string {
  return `${server.slot}:${releaseSlug(server.release)}`;
}

/** A rendered route and the short hash that its frontend's name carries, by which a loaded file is recognised. */
export interface RenderedRoute {
  readonly text: string;
  readonly generation: string;
}

/** Renders the file of one route; equal routes give equal bytes. */
export function renderRoute(route: Route): RenderedRoute {
  const backend = backendName(route);
  const body = [
    `backend ${backend}`,
    '  balance roundrobin',
    ...(route.healthPath === undefined
      ? []
      : [`  option httpchk GET ${route.healthPath}`, '  http-check expect status 200']),
    // Checked only where there is somebody to hand over to: a lone release that is slow is better than a refusal, and one that is being
    // started again is tried again. Three refused connections in a row are as good as failed checks, so that a dead release is left
    // within milliseconds. The checks themselves are patient: a release that is only slow must not hand its traffic to the one before. One
    // good check brings it back.
    ...(route.servers.filter(({ role }) => role !== 'off').length > 1
      ? [
          '  default-server check inter 1s fastinter 250ms downinter 250ms fall 3 rise 1 observe layer4 error-limit 3 on-error mark-down',
        ]
      : []),
    ...route.servers.map(renderServer),
  ].join('\n');
  const header = `# slipway ${JSON.stringify(route)}`;
  const listen = [
    ...route.listen.map((address) => `  bind ${address}`),
    `  http-request set-var(txn.by) str(probe) if { req.hdr(user-agent) -m str ${probeAgent} }`,
    `  http-after-response set-header keep-alive timeout=${toldIdleS}`,
  ].join('\n');
  const generation = createHash('sha256').update(`${header}\n${listen}\n${body}`).digest('hex').slice(0, 10);
  const text = `# Rendered by Slipway, which overwrites changes made here.
${header}
frontend ${backend}:${generation}
${listen}
  default_backend ${backend}

${body}
`;
  return { text, generation };
}

function renderServer(server: RouteServer): string {
  const weight = server.role === 'off' ? 0 : server.weight;
  return `  server ${serverName(server)} ${server.address} weight ${weight}${server.role === 'backup' ? ' backup' : ''}`;
}

/** A route's file as it was found. */
export interface ParsedRoute extends RenderedRoute {
  readonly route: Route;
  /** The bytes are not what the header renders to. */
  readonly edited: boolean;
}

/** Reads a file that {@link renderRoute} wrote; undefined when it has no readable header. */
export function parseRoute(text: string): ParsedRoute | undefined {
  const header = /^# slipway (\{.*\})$/m.exec(text)?.[1];
  if (header === undefined) return undefined;
  try {
    // The header was written by renderRoute, and `edited` shows when it was not.
    const route = JSON.parse(header) as Route;
    const rendered = renderRoute(route);
    return { route, text, generation: rendered.generation, edited: rendered.text !== text };
  } catch {
    return undefined;
  }
}
