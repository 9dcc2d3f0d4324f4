import { ProviderError } from '../domain/failures.ts';
import type { Slot } from '../domain/release.ts';
import type { Fence } from '../effects/fence.ts';
import type { Route, RouteServer } from '../providers/routers/port.ts';
import type { SlotState } from '../providers/targets/port.ts';
import type { Store } from '../store/store.ts';
import { changing, typed } from './changes.ts';
import type { TrafficActivities } from './contracts.ts';
import type { DeploymentLog, DeploymentLogs } from './deployment-logs.ts';
import type { Place, Places } from './places.ts';
import { versionInForce } from './versions.ts';

export interface TrafficDependencies {
  readonly store: Pick<Store, 'db'>;
  readonly places: Places;
  readonly fence: Fence;
  readonly logs: DeploymentLogs;
}

/** Weight of the one live server; any number serves, only canaries share. */
const fullWeight = 100;

/** What answers nobody until somebody starts it; one that starts again by itself is not among them. */
const standing: readonly SlotState['state'][] = ['created', 'exited'];

/** Moves traffic between the slots. */
export function createTrafficActivities({ store, places, fence, logs }: TrafficDependencies): TrafficActivities {
  return {
    ensureTraffic: async (input) => {
      const { project, environment, slot, backup } = input;
      const place = await typed(async () =>
        places.open({ project, environment, version: await versionInForce(store, input) }),
      );
      const move = async (log: DeploymentLog, signal: AbortSignal): Promise<{ readonly movedAt: string }> => {
        const { spec } = place;
        const states = slot === null ? [] : await place.target.readSlots({ project, environment });
        const server = (of: Slot, role: RouteServer['role']): RouteServer => {
          const state = states.find((each) => each.slot === of);
          if (state === undefined) {
            throw new ProviderError(
              'ReleaseMissing',
              `Nothing is in ${of} of ${project}/${environment}, so no traffic can go there.`,
            );
          }
          const { release } = state;
          if (input.back === true && role === 'live' && standing.includes(state.state)) {
            throw new ProviderError(
              'ReleaseMissing',
              `${release.version} is in ${of} of ${project}/${environment}, but it does not run, so traffic is not moved back to it.`,
            );
          }
          return {
            slot: of,
            release: release.version,
            address: `127.0.0.1:${spec.router.slots[of]}`,
            weight: fullWeight,
            role,
          };
        };
        const standby = backup !== null && backup !== slot && states.some((each) => each.slot === backup);
        const { listen } = spec.router;
        const route = (servers: readonly RouteServer[]): Route => ({
          project,
          environment,
          listen: [`${listen.address}:${listen.port}`],
          healthPath: spec.service.health.path,
          servers,
        });
        if (standby) await requireWayBack(place, route([server(backup, 'live')]), signal);
        const servers = slot === null ? [] : [server(slot, 'live'), ...(standby ? [server(backup, 'backup')] : [])];
        log.say(
          `${input.back === true ? 'back ' : ''}to ${servers.length === 0 ? 'nobody' : servers.map((each) => `${each.release} in ${each.slot} (${each.role})`).join(', ')}`,
        );
        const { changed, movedAt } = await place.router.ensureTraffic(route(servers), signal);
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
