import { ProviderError } from '../domain/failures.ts';
import type { Fence } from '../effects/fence.ts';
import type { Route } from '../providers/routers/port.ts';
import type { Store } from '../store/store.ts';
import { changing, typed } from './changes.ts';
import type { TrafficActivities } from './contracts.ts';
import type { DeploymentLog, DeploymentLogs } from './deployment-logs.ts';
import type { Place, Places } from './places.ts';
import { requireServing } from './serving.ts';
import { trafficRoute } from './traffic-routes.ts';
import { versionInForce } from './versions.ts';

export interface TrafficDependencies {
  readonly store: Pick<Store, 'db'>;
  readonly places: Places;
  readonly fence: Fence;
  readonly logs: DeploymentLogs;
}

/** Moves traffic between the slots. */
export function createTrafficActivities({ store, places, fence, logs }: TrafficDependencies): TrafficActivities {
  return {
    ensureTraffic: async (input) => {
      const { project, environment, slot } = input;
      const place = await typed(async () =>
        places.open({ project, environment, version: await versionInForce(store, input) }),
      );
      const move = async (log: DeploymentLog, signal: AbortSignal): Promise<{ readonly movedAt: string }> => {
        const states = slot === null ? [] : await place.target.readSlots({ project, environment });
        if (input.settles === true && slot !== null) await requireServing(place, states, slot, signal);
        const route = trafficRoute(place, states, input);
        const [, standby] = route.servers;
        if (standby !== undefined) {
          await requireWayBack(place, trafficRoute(place, states, { slot: standby.slot, backup: null }), signal);
        }
        const { servers } = route;
        log.say(
          `${input.back === true ? 'back ' : ''}to ${servers.length === 0 ? 'nobody' : servers.map((each) => `${each.release} in ${each.slot} (${each.role})`).join(', ')}`,
        );
        const { changed, movedAt } = await place.router.ensureTraffic(route, signal);
        log.say(changed ? `the router serves so since ${movedAt}` : 'the router served so already');
        return { movedAt };
      };
      const subject = { project, environment, number: input.number, stage: 'switch', what: slot ?? 'nobody' } as const;
      return await changing(fence, place, input, (signal) => logs.beside(subject, (log) => move(log, signal)));
    },
  };
}

/**
 * Traffic does not leave a release that it could not come back to; and the way back, checked now, is the shorter when it is needed.
 *
 * @throws `RouterConfigInvalid` (not retried) - the router would refuse the way back.
 */
async function requireWayBack(place: Place, wayBack: Route, signal: AbortSignal): Promise<void> {
  try {
    await place.router.checkRoute(wayBack, signal);
  } catch (error) {
    // A router that cannot be asked says so again at once, when it is to take the way forward.
    if (!(error instanceof ProviderError) || error.type !== 'RouterUnavailable') throw error;
  }
}
