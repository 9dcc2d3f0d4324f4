import { setTimeout as delay } from 'node:timers/promises';
import type { SecretRefs } from '../definition/specs/secret.ts';
import { ProviderError } from '../domain/failures.ts';
import type { LiveRelease, Slot } from '../domain/release.ts';
import type { Fence } from '../effects/fence.ts';
import { stallAfter } from '../effects/heartbeat.ts';
import { type Redactor, createRedactor } from '../effects/redact.ts';
import type { HealthCommand, SlotRef, SlotState } from '../providers/targets/port.ts';
import { changing, typed } from './changes.ts';
import type { EnvironmentFacts, ReleaseActivities } from './contracts.ts';
import type { DeploymentLog, DeploymentLogs } from './deployment-logs.ts';
import type { ImageTrust } from './image-trust.ts';
import type { Materials } from './material.ts';
import type { Place, Places } from './places.ts';
import { checkAhead } from './traffic-routes.ts';
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
  readonly logs: DeploymentLogs;
}

/** How often the sessions of a draining slot are counted. Judgement. */
const drainPollMs = 100;
/** A router that has not answered for so long is away and not only slow. Judgement: four times what it needs to start. */
const awayAfterMs = 2_000;
/** Of a container that is stopped, into the log: enough to see a stack trace and what led to it. Judgement. */
const lastLines = 200;
/** Longest that a stop waits for them, ms. */
const lastLinesMs = 2_000;
/** Of what a container writes until it is healthy, into the log. Judgement: one that writes more is read with its platform. */
const mostStartBytes = 1_048_576;

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
      const run = async (
        log: DeploymentLog,
        signal: AbortSignal,
        progress: (detail?: unknown) => void,
      ): Promise<void> => {
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
        const since = new Date().toISOString();
        log.say(`${place.release.version} in ${slot}: ${image.repository}@${image.digest}`);
        const { name, changed } = await withoutSecrets(redactor, () =>
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
        log.say(changed ? `container ${name} is started` : `container ${name} runs already`);
        const ref = { project: spec.project, environment: spec.name, slot };
        const leave = followStart(place, ref, since, log);
        const ahead = input.back === true ? undefined : checkAhead(place, slot, signal);
        try {
          const tookMs = await withoutSecrets(redactor, () =>
            place.target.awaitHealthy(ref, {
              timeoutMs: input.readyMs,
              path: service.health.path,
              requestTimeoutMs: service.health.timeoutMs,
              signal,
              onTry: (seen) => progress(log.heard.text(redactor.text(seen))),
            }),
          );
          log.say(`healthy after ${Math.round(tookMs)} ms`);
          await ahead;
        } finally {
          leave();
        }
      };
      const subject = { project: spec.project, environment: spec.name, number: input.number, stage: 'start' } as const;
      // What is left in the slot is stopped first, and until it has ended there is nothing to tell.
      await changing(
        deps.fence,
        place,
        input,
        (signal, progress) =>
          deps.logs.during({ ...subject, what: input.slot }, place, (log) => run(log, signal, progress)),
        stallAfter(spec.service.stopGraceMs),
      );
    },

    ensureReleaseStopped: async (input) => {
      const place = await typed(async () => deps.places.open(await anyVersion(deps, input)));
      const ref = { project: input.project, environment: input.environment, slot: input.slot };
      const subject = { project: input.project, environment: input.environment, number: input.number } as const;
      const stop = async (
        log: DeploymentLog,
        signal: AbortSignal,
        progress: (detail?: unknown) => void,
      ): Promise<void> => {
        await drain(place, input.slot, input.drainMs, signal, progress);
        // Before it is stopped, for what is removed has no log any more.
        const words = await lastWords(place, ref, signal);
        log.say(words.length === 0 ? `${input.slot} has written nothing` : `the last lines of ${input.slot}:`);
        log.lines(words);
        progress();
        const options = { graceMs: input.graceMs, signal };
        await (input.remove
          ? place.target.ensureSlotRemoved(ref, options)
          : place.target.ensureSlotStopped(ref, options));
        log.say(`${input.slot} is ${input.remove ? 'removed' : 'stopped'}`);
      };
      await changing(
        deps.fence,
        place,
        input,
        (signal, progress) =>
          deps.logs.during({ ...subject, stage: 'stop', what: input.slot }, place, (log) =>
            stop(log, signal, progress),
          ),
        stallAfter(input.graceMs),
      );
    },
  };
}

/** Writes what a release says from its start on, until it is told to leave it. What cannot be read is left out. */
function followStart({ target }: Place, ref: SlotRef, since: string, log: DeploymentLog): () => void {
  const stop = new AbortController();
  const follow = async (): Promise<void> => {
    let left = mostStartBytes;
    for await (const { text } of target.tailLogs(ref, since, stop.signal)) {
      left -= Buffer.byteLength(text) + 1;
      if (left < 0) {
        log.say(`what it wrote beyond ${mostStartBytes} bytes is left out`);
        return;
      }
      log.lines([text]);
    }
  };
  follow().catch(() => undefined);
  return () => stop.abort();
}

/** What is about to be stopped wrote last; empty where that cannot be read in a moment, which is no reason to leave it running. */
async function lastWords({ target }: Place, ref: SlotRef, signal: AbortSignal): Promise<readonly string[]> {
  try {
    return await target.readLastLines(ref, lastLines, AbortSignal.any([signal, AbortSignal.timeout(lastLinesMs)]));
  } catch {
    return [];
  }
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

/** Whether what is in the slot could take traffic, by the platform's own word. */
export function isServing(state: Pick<SlotState, 'state' | 'health'>): boolean {
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
