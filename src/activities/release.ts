import { setTimeout as delay } from 'node:timers/promises';
import type { SecretRefs } from '../definition/specs.ts';
import { ProviderError } from '../domain/failures.ts';
import type { LiveRelease, Slot } from '../domain/release.ts';
import type { Fence } from '../effects/fence.ts';
import { type Redactor, createRedactor } from '../effects/redact.ts';
import type { HealthCommand, SlotState } from '../providers/targets/port.ts';
import { changing, typed } from './changes.ts';
import type { EnvironmentFacts, ReleaseActivities } from './contracts.ts';
import type { ImageTrust } from './image-trust.ts';
import type { Materials } from './material.ts';
import type { Place, Places } from './places.ts';
import { versionInForce } from './versions.ts';
import type { Store } from '../store/store.ts';

export interface ReleaseDependencies {
  readonly store: Pick<Store, 'db'>;
  readonly places: Places;
  readonly materials: Materials;
  readonly fence: Fence;
  readonly trust: ImageTrust;
  /** Values of the running service's secrets, at the moment of their use. */
  readonly readSecrets: (refs: SecretRefs) => Promise<Readonly<Record<string, string>>>;
}

/** How often the sessions of a draining slot are counted. Judgement. */
const drainPollMs = 100;
/** A router that has not answered for so long is away and not only slow. Judgement: four times what it needs to start. */
const awayAfterMs = 2_000;

/** What runs where, and making it so. */
export function createReleaseActivities(deps: ReleaseDependencies): ReleaseActivities {
  return {
    readEnvironment: (input) =>
      typed(async () => {
        const place = await deps.places.open(await anyVersion(deps, input));
        return await readFacts(place);
      }),

    ensureReleaseRunning: async (input) => {
      const place = await typed(() => deps.places.open(input));
      const { spec } = place;
      await changing(deps.fence, place, input, async (signal, progress) => {
        const image = place.release.images.find(({ name }) => name === spec.service.image);
        if (image === undefined) {
          throw new ProviderError(
            'ImageNotFound',
            `Release ${place.release.version} has no image ${spec.service.image}, which its service runs.`,
          );
        }
        const [{ configuration }, secretEnv] = await Promise.all([
          deps.materials.of(place, signal),
          deps.readSecrets(spec.secrets),
          // A move back goes to what was verified on its way there, and must not wait for a registry.
          input.back === true ? [] : deps.trust.verify(place, [image], signal),
        ]);
        const redactor = createRedactor(Object.values(secretEnv));
        const { slot } = input;
        const { service } = spec;
        await withoutSecrets(redactor, () =>
          place.target.ensureSlot(
            {
              project: spec.project,
              environment: spec.name,
              slot,
              release: releaseRef(place),
              image,
              deployment: input.number,
              ...(service.command === undefined ? {} : { command: service.command }),
              env: {
                ...configuration.env,
                PORT: String(service.port),
                SLIPWAY_VERSION: place.release.version,
                SLIPWAY_COMMIT: place.release.commit,
                SLIPWAY_ENVIRONMENT: spec.name,
                SLIPWAY_SLOT: slot,
              },
              secretEnv,
              hostPort: spec.router.slots[slot],
              containerPort: service.port,
              resources: service.resources,
              ...healthOf(place),
              stopGraceMs: service.stopGraceMs,
            },
            signal,
          ),
        );
        await withoutSecrets(redactor, () =>
          place.target.awaitHealthy(
            { project: spec.project, environment: spec.name, slot },
            {
              timeoutMs: input.readyMs,
              path: service.health.path,
              requestTimeoutMs: service.health.timeoutMs,
              signal,
              onTry: (seen) => progress(redactor.text(seen)),
            },
          ),
        );
      });
    },

    ensureReleaseStopped: async (input) => {
      const place = await typed(async () => deps.places.open(await anyVersion(deps, input)));
      const ref = { project: input.project, environment: input.environment, slot: input.slot };
      await changing(deps.fence, place, input, async (signal, progress) => {
        await drain(place, input.slot, input.drainMs, signal, progress);
        const options = { graceMs: input.graceMs, signal };
        await (input.remove
          ? place.target.ensureSlotRemoved(ref, options)
          : place.target.ensureSlotStopped(ref, options));
      });
    },
  };
}

/**
 * What a container printed before it failed is in the error, and with it in the history: its secrets are taken out. Without the cause, which
 * would carry them along.
 */
async function withoutSecrets<T>(redactor: Redactor, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    throw new ProviderError(error.type, redactor.text(error.message), {
      details: redactor.value(error.details),
      nonRetryable: !error.retryable,
    });
  }
}

/** What the router says is live, and what the target says of the slots. */
export async function readFacts(place: Place): Promise<EnvironmentFacts> {
  const ref = { project: place.spec.project, environment: place.spec.name };
  const [states, traffic] = await Promise.all([place.target.readSlots(ref), place.router.readTraffic(ref)]);
  const server = traffic.rendered?.servers.find(({ role }) => role === 'live');
  const state = states.find(({ slot }) => slot === server?.slot);
  const live: LiveRelease | null =
    state === undefined
      ? null
      : {
          ...state.release,
          slot: state.slot,
          deployment: state.deployment,
          since: state.startedAt ?? new Date(0).toISOString(),
        };
  const previous = states.find(({ slot }) => live !== null && slot !== live.slot);
  return {
    live,
    slots: states.map((each) => ({
      slot: each.slot,
      version: each.release.version,
      deployment: each.deployment,
      healthy: isServing(each),
    })),
    previous: previous?.release ?? null,
  };
}

function isServing(state: SlotState): boolean {
  return state.state === 'running' && state.health !== 'unhealthy' && state.health !== 'starting';
}

/**
 * Waits until no request is under way at the slot, nor a connection that would bring it one, at most so long; a router that is away has none.
 */
async function drain(
  place: Place,
  slot: Slot,
  drainMs: number,
  signal: AbortSignal,
  progress: (detail?: unknown) => void,
): Promise<void> {
  const ref = { project: place.spec.project, environment: place.spec.name };
  const until = performance.now() + drainMs;
  let answeredAt = performance.now();
  while (performance.now() < until) {
    const sessions = await place.router.readSessions(ref, slot).catch((error: unknown) => {
      if (error instanceof ProviderError && error.type === 'RouterUnavailable') return undefined;
      throw error;
    });
    if (sessions === undefined) {
      if (performance.now() - answeredAt > awayAfterMs) return;
      await delay(drainPollMs, undefined, { signal });
      continue;
    }
    answeredAt = performance.now();
    if (sessions.current + sessions.lingering === 0) return;
    progress({ sessions: sessions.current, lingering: sessions.lingering });
    await delay(drainPollMs, undefined, { signal });
  }
}

function releaseRef({ release }: Place): { version: string; commit: string; images: Place['release']['images'] } {
  return { version: release.version, commit: release.commit, images: release.images };
}

function healthOf({ spec }: Place): { health?: HealthCommand } {
  const { command, intervalMs, timeoutMs, retries } = spec.service.health;
  const [first, ...rest] = command ?? [];
  return first === undefined ? {} : { health: { command: [first, ...rest], intervalMs, timeoutMs, retries } };
}

/** Where only the environment is named: the version that it was last told to run, whose definition says where that is. */
async function anyVersion(
  { store }: Pick<ReleaseDependencies, 'store'>,
  ref: { readonly project: string; readonly environment: string; readonly number?: number; readonly version?: string },
): Promise<{ project: string; environment: string; version: string }> {
  const { project, environment } = ref;
  return { project, environment, version: ref.version ?? (await versionInForce(store, ref)) };
}
