import type Docker from 'dockerode';
import { ProviderError } from '../../domain/failures.ts';
import { engineError, isEngineGone, messageOf, namesRegistry, readEvents, statusOf } from '../builders/engine.ts';
import type { StageScope } from './port.ts';

/** What everything that a stage puts on an engine has in common. */
export interface StageEngineOptions {
  /** Puts into every container a label that tells this installation's from another's on the same engine. */
  readonly labels?: Readonly<Record<string, string>>;
}

/** What a thing on the engine is to its stage. */
export type StageRole = 'step' | 'service';

/** More would be a bomb of forks (judgement). */
export const maxProcesses = 4_096;

/**
 * Weight of a container of a stage where more is wanted of the processor than there is: a quarter of the 1,024 that a container gets unasked (Docker's
 * reference of `docker run`), so that releases and Slipway itself go on beside a step that takes whatever it can get. Alone it has all cores (ADR 0027).
 * Judgement.
 */
export const cpuWeight = 256;

/**
 * An engine that fetches an image says something at least with every piece that it gets; one that is silent for this long, ms, has a registry that answers
 * no more. Long enough for the sums of the largest layers to be checked. Judgement.
 */
const longestSilenceMs = 180_000;

/** Labels that every attempt at a stage has in common. */
const identity: readonly string[] = ['slipway.role', 'slipway.project', 'slipway.run', 'slipway.stage'];

/** By these what a stage has put on the engine is found again by whoever comes after a dead worker. */
export function labelsOf(role: StageRole, scope: StageScope): Readonly<Record<string, string>> {
  return {
    'slipway.role': role,
    'slipway.project': scope.project,
    'slipway.run': scope.run,
    'slipway.number': String(scope.number),
    'slipway.stage': scope.stage,
    'slipway.attempt': String(scope.attempt),
  };
}

/** Removes what an earlier attempt at the stage left, whose worker could not end it. */
export async function reap(docker: Docker, role: StageRole, scope: StageScope): Promise<void> {
  const mine = Object.entries(labelsOf(role, scope)).filter(([name]) => identity.includes(name));
  await reapLabelled(docker, Object.fromEntries(mine), `end what an earlier attempt at ${scope.stage} left`);
}

/**
 * Removes everything with these labels: containers, then the networks they were on.
 *
 * @param doing - what that is for, as it reads after "could not".
 */
export async function reapLabelled(
  docker: Docker,
  labels: Readonly<Record<string, string>>,
  doing: string,
): Promise<void> {
  const filters = JSON.stringify({ label: Object.entries(labels).map(([name, value]) => `${name}=${value}`) });
  try {
    const left = await docker.listContainers({ all: true, filters });
    await Promise.all(left.map(({ Id }) => remove(docker.getContainer(Id))));
    // Steps have none of their own.
    if (labels['slipway.role'] !== 'service') return;
    const networks = await docker.listNetworks({ filters });
    await Promise.all(networks.map(({ Id }) => removeNetwork(docker.getNetwork(Id))));
  } catch (error) {
    throw engineError(error, doing);
  }
}

/** Ends and removes a container with its anonymous volumes; one that is gone is as well. */
export async function remove(container: Docker.Container): Promise<void> {
  try {
    await container.remove({ force: true, v: true });
  } catch (error) {
    // Gone, or on its way.
    if (![404, 409].includes(statusOf(error) ?? 0)) throw error;
  }
}

/** Removes a network, with whatever is still joined to it taken off; one that is gone is as well. */
export async function removeNetwork(network: Docker.Network): Promise<void> {
  try {
    const { Containers = {} } = (await network.inspect()) as {
      readonly Containers?: Readonly<Record<string, unknown>>;
    };
    await Promise.all(
      Object.keys(Containers).map((Container) => network.disconnect({ Container, Force: true }).catch(() => undefined)),
    );
    await network.remove();
  } catch (error) {
    if (statusOf(error) !== 404) throw error;
  }
}

/**
 * Brings an image onto the engine where it is not there yet.
 *
 * @param scope.login - used for images of its registry, and for no others.
 * @param wanted.name - whose it is, for messages.
 * @param silenceMs - how long the engine may say nothing of a fetch, ms.
 * @throws `ImageNotFound` (not retried); `RegistryUnavailable`, `EngineUnavailable` (retried); what reading the login throws
 */
export async function ensureImage(
  docker: Docker,
  { login }: Pick<StageScope, 'login'>,
  { image, name }: { readonly image: string; readonly name: string },
  say: (line: string) => void,
  signal: AbortSignal,
  silenceMs = longestSilenceMs,
): Promise<void> {
  try {
    await docker.getImage(image).inspect();
    if (!(login === 'nobody' && namesRegistry(image))) return;
  } catch (error) {
    if (statusOf(error) !== 404) throw engineError(error, `look for the image ${image}`);
  }
  say(`fetching the image ${image}`);
  const own = typeof login === 'object' && image.startsWith(`${login.address}/`) ? login : undefined;
  const credentials = await own?.read(signal);
  const silent = new AbortController();
  const timer = setTimeout(() => silent.abort(), silenceMs);
  try {
    const auth =
      credentials === undefined
        ? {}
        : {
            authconfig: {
              username: credentials.username,
              password: credentials.password,
              serveraddress: credentials.address,
            },
          };
    const tag = /[:@][^/]*$/.test(image) ? {} : { tag: 'latest' };
    const stream = await docker.createImage({
      ...auth,
      ...tag,
      fromImage: image,
      abortSignal: AbortSignal.any([signal, silent.signal]),
    });
    for await (const { status } of readEvents(stream as AsyncIterable<Buffer>)) {
      timer.refresh();
      if (status?.startsWith('Status:') === true) say(status);
    }
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    if (silent.signal.aborted) {
      const seconds = Math.round(silenceMs / 1_000);
      throw new ProviderError(
        'RegistryUnavailable',
        `the image ${image} of ${name} could not be fetched: nothing came of it for ${seconds} s`,
        { cause: error },
      );
    }
    if (isEngineGone(error)) throw engineError(error, `fetch the image ${image}`);
    const said = messageOf(error);
    const type = /not found|manifest unknown|denied|unauthorized|does not exist|invalid reference/i.test(said)
      ? 'ImageNotFound'
      : 'RegistryUnavailable';
    throw new ProviderError(type, `the image ${image} of ${name} could not be fetched: ${said}`, { cause: error });
  } finally {
    clearTimeout(timer);
  }
}
