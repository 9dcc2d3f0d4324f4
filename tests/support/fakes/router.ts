import { ProviderError } from '../../../src/domain/failures.ts';
import { renderRoute, routeFileName } from '../../../src/providers/routers/haproxy-file.ts';
import type { Route, Router, SlotSessions } from '../../../src/providers/routers/port.ts';

/** A router in memory, with what a test must be able to do to it. */
export interface FakeRouter extends Router {
  /** From now on it does not answer; the file can still be written. */
  goAway(): void;
  /** It runs again, with what the file says. */
  comeBack(): void;
  /** Sets the requests under way at a slot. */
  setSessions(slot: string, sessions: SlotSessions): void;
  /** Every route that was applied, in order. */
  readonly applied: readonly Route[];
}

/** Keeps the promises of {@link Router} without a router. */
export function createFakeRouter(): FakeRouter {
  const files = new Map<string, Route>();
  let loaded = new Map<string, Route>();
  const sessions = new Map<string, SlotSessions>();
  const applied: Route[] = [];
  let away = false;

  function requireThere(): void {
    if (away) throw new ProviderError('RouterUnavailable', 'the router was taken away by the test');
  }

  function requireSound(route: Route): void {
    if (route.servers.every((server) => /^[\w.:[\]-]+:\d{1,5}$/.test(server.address))) return;
    throw new ProviderError('RouterConfigInvalid', 'the router refused an address', { details: { output: [] } });
  }

  return {
    applied,
    goAway() {
      away = true;
    },
    comeBack() {
      away = false;
      loaded = new Map(files);
    },
    setSessions(slot, count) {
      sessions.set(slot, count);
    },
    async ensureTraffic(route) {
      await Promise.resolve();
      requireSound(route);
      const name = routeFileName(route);
      const present = loaded.get(name);
      const changed =
        away || present === undefined || renderRoute(present).generation !== renderRoute(route).generation;
      files.set(name, route);
      requireThere();
      loaded.set(name, route);
      if (changed) applied.push(route);
      return { changed, movedAt: new Date().toISOString(), tookMs: 0 };
    },
    async checkRoute(route) {
      await Promise.resolve();
      requireThere();
      requireSound(route);
    },
    async readTraffic(ref) {
      const rendered = files.get(routeFileName(ref)) ?? null;
      const generation = rendered === null ? null : renderRoute(rendered).generation;
      const route = loaded.get(routeFileName(ref));
      const running = away
        ? ('unreachable' as const)
        : route === undefined
          ? null
          : {
              generation: renderRoute(route).generation,
              servers: route.servers.map(({ slot, release, role, weight }) => ({
                slot,
                release,
                role,
                weight: role === 'off' ? 0 : weight,
                up: true,
              })),
            };
      const inSync = running !== 'unreachable' && (running?.generation ?? null) === generation;
      return Promise.resolve({ rendered, generation, edited: false, running, inSync });
    },
    async readSessions(_ref, slot) {
      requireThere();
      return Promise.resolve(sessions.get(slot) ?? { current: 0, finishing: 0, lingering: 0 });
    },
    async removeRoute(ref) {
      files.delete(routeFileName(ref));
      requireThere();
      loaded.delete(routeFileName(ref));
      return Promise.resolve();
    },
  };
}
