import { ProviderError } from '../domain/failures.ts';
import { type Slot, otherSlot } from '../domain/release.ts';
import type { Route, RouteServer } from '../providers/routers/port.ts';
import type { SlotState } from '../providers/targets/port.ts';
import type { Place } from './places.ts';

/** Weight of the one live server; any number serves, only canaries share. */
const fullWeight = 100;
/** What answers nobody until somebody starts it; one that starts again by itself is not among them. */
const standing: readonly SlotState['state'][] = ['created', 'exited'];
/** Longest that a check of what comes later may hold up what is done now, ms. Judgement: 70 is usual. */
const aheadMs = 1_000;

/** Who is to answer for an environment. */
export interface TrafficWish {
  /** Null for nobody. */
  readonly slot: Slot | null;
  /** Whom the router falls back to by itself, where something is in it. */
  readonly backup: Slot | null;
  /** A move back, which goes nowhere where nothing runs. */
  readonly back?: boolean | undefined;
}

/**
 * The route that gives an environment's traffic to a slot.
 *
 * @param states - what is in the slots.
 * @throws ProviderError `ReleaseMissing` (not retried) - nothing is in the slot, or what is to be gone back to does not run.
 */
export function trafficRoute(
  { spec }: Pick<Place, 'spec'>,
  states: readonly SlotState[],
  { slot, backup, back = false }: TrafficWish,
): Route {
  const { name: environment, project } = spec;
  const { listen } = spec.router;
  const server = (of: Slot, role: RouteServer['role']): RouteServer => {
    const state = states.find((each) => each.slot === of);
    if (state === undefined) {
      throw new ProviderError(
        'ReleaseMissing',
        `Nothing is in ${of} of ${project}/${environment}, so no traffic can go there.`,
      );
    }
    const { version } = state.release;
    if (back && role === 'live' && standing.includes(state.state)) {
      throw new ProviderError(
        'ReleaseMissing',
        `${version} is in ${of} of ${project}/${environment}, but it does not run, so traffic is not moved back to it.`,
      );
    }
    return { slot: of, release: version, address: `127.0.0.1:${spec.router.slots[of]}`, weight: fullWeight, role };
  };
  const standby = backup !== null && backup !== slot && states.some((each) => each.slot === backup);
  const servers = slot === null ? [] : [server(slot, 'live'), ...(standby ? [server(backup, 'backup')] : [])];
  return {
    project,
    environment,
    listen: [`${listen.address}:${listen.port}`],
    healthPath: spec.service.health.path,
    servers,
  };
}

/**
 * Has the router check what it will be told once the release in `slot` is healthy: all traffic to it, with the release that serves as its
 * backup and without. It remembers that, so the move itself need not wait for a check. Done beside the start, which waits anyway.
 *
 * Never throws: what the router would refuse, or does not answer, the move says in its own words.
 */
export async function checkAhead(place: Place, slot: Slot, signal: AbortSignal): Promise<void> {
  try {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(aheadMs)]);
    const { project, name: environment } = place.spec;
    const states = await place.target.readSlots({ project, environment });
    const routes = [otherSlot(slot), null].map((backup) => trafficRoute(place, states, { slot, backup }));
    for (const route of routes) await place.router.checkRoute(route, limit);
  } catch {
    // Nothing depends on it.
  }
}
