import type { Slot } from '../../domain/release.ts';

/** Names a route: what one environment of one project answers on. */
export interface RouteRef {
  readonly project: string;
  readonly environment: string;
}

/**
 * What a server is for.
 *
 * `live` takes the traffic by its weight; `backup` takes it only when no live server is up; `off` is known and checked, and takes none.
 */
export type ServerRole = 'live' | 'backup' | 'off';

/** One slot of an environment as the router sees it. */
export interface RouteServer {
  readonly slot: Slot;
  /** Version of the release in the slot; it is part of the server's name, so that every log line tells the release. */
  readonly release: string;
  /** `127.0.0.1:PORT`, the slot's fixed published port. */
  readonly address: string;
  /** Share among the live servers, 1 to 256; ignored for `off`. */
  readonly weight: number;
  readonly role: ServerRole;
}

/** Everything the router must know of one environment. */
export interface Route extends RouteRef {
  /** Addresses that the environment answers on, `127.0.0.1:8080`. */
  readonly listen: readonly string[];
  /** Path that a server must answer with a status below 400 to be up; without it a server is up when it takes a connection. */
  readonly healthPath?: string;
  /** At most one server a slot. None at all: the route answers 503. */
  readonly servers: readonly RouteServer[];
}

/** A server as the running router has it. */
export interface RunningServer {
  readonly slot: Slot;
  readonly release: string;
  readonly role: ServerRole;
  readonly weight: number;
  /** Whether the router's own checks find it up. */
  readonly up: boolean;
}

/** What the router has loaded for a route. */
export interface RunningRoute {
  /** Short hash of the file it was loaded from. */
  readonly generation: string;
  readonly servers: readonly RunningServer[];
}

/** The two states that matter after any error: what the file says and what runs. */
export interface TrafficState {
  /** What the file says; null when there is none. */
  readonly rendered: Route | null;
  /** Short hash of the file's content; null when there is none. */
  readonly generation: string | null;
  /** True when somebody changed the file by hand: its content is not what its own header describes. */
  readonly edited: boolean;
  /** What the router has loaded; null when it does not know the route, `unreachable` when it does not answer. */
  readonly running: RunningRoute | null | 'unreachable';
  /** Whether the router runs exactly what the file says. */
  readonly inSync: boolean;
}

/** What {@link Router.ensureTraffic} brought about. */
export interface TrafficMove {
  /** False when file and router already agreed with the route. */
  readonly changed: boolean;
  /** When the new state was seen serving, ISO 8601. */
  readonly movedAt: string;
  /** From the call until then, ms. */
  readonly tookMs: number;
}

/** Requests under way at a slot; it has drained when `current` and `lingering` are 0. */
export interface SlotSessions {
  readonly current: number;
  /** Of these, at workers of the router that are finishing what they had before a reload. */
  readonly finishing: number;
  /** Kept-alive connections at such workers that would still ask this slot: each may bring one more request. They end within 5 s. */
  readonly lingering: number;
}

/**
 * Moves traffic between the slots of an environment.
 *
 * The rendered file is the truth: it survives a restart of the router, which then runs what the file says. Calls for one route must not
 * overlap (the fence of the target sees to that); calls for different routes may.
 */
export interface Router {
  /**
   * Makes the file say `route`, checks it, applies it without losing a request and waits until it serves.
   *
   * Idempotent: when file and router already say so, nothing is written or reloaded.
   *
   * Of two moves within 5 s, a kept-alive connection that was idle from before the first may take its next answer from where the first went:
   * {@link SlotSessions.lingering} counts such connections.
   *
   * @throws `RouterConfigInvalid` (not retried): the router refused the file. The file on disk is the former one and the router runs what it ran.
   * @throws `RouterUnavailable` (retried): the router does not answer. The file on disk says `route` and is applied by whoever starts the
   * router next; what runs is unknown until {@link readTraffic} can tell.
   */
  ensureTraffic(route: Route, signal?: AbortSignal): Promise<TrafficMove>;

  /**
   * Has the router check `route` as it would be applied now; changes nothing. An {@link ensureTraffic} of an equal route that finds
   * everything else as it was then does not check again, which is what a way back in a hurry is for.
   *
   * @throws `RouterConfigInvalid` (not retried): the router would refuse it.
   * @throws `RouterUnavailable` (retried): it could not be asked.
   */
  checkRoute(route: Route, signal?: AbortSignal): Promise<void>;

  /** Reads what the file says and what runs. Never throws for an unreachable router: `running` says it. */
  readTraffic(ref: RouteRef): Promise<TrafficState>;

  /**
   * Counts the requests under way at a slot, at the present worker of the router and at those that finish after a reload.
   *
   * @throws `RouterUnavailable`: unknown whether there are any.
   */
  readSessions(ref: RouteRef, slot: Slot): Promise<SlotSessions>;

  /**
   * Removes the route's file and applies it. Idempotent.
   *
   * @throws `RouterUnavailable` (retried): the file is gone; the router may still answer for the route until its next start.
   */
  removeRoute(ref: RouteRef, signal?: AbortSignal): Promise<void>;
}
