import { setTimeout as delay } from 'node:timers/promises';
import { ProviderError } from '../domain/failures.ts';
import type { Slot } from '../domain/release.ts';
import type { SlotState } from '../providers/targets/port.ts';
import type { Place } from './places.ts';

/**
 * How long a router may hold a release for down that its engine runs, ms: one that answers is up again with the next check, four of which are made a
 * second. Well within what the activity is given. Judgement.
 */
const patienceMs = 2_000;
const everyMs = 100;

/**
 * Has engine and router say that the release in `slot` serves, before it loses its backup: a watch tells what was, and a release that has died since
 * would leave nobody to answer.
 *
 * A router that finds no fault has no say where it checks nobody (a lone server); the engine always has.
 *
 * @param states - what is in the slots.
 * @throws ProviderError `ReleaseDegraded` (not retried) - it does not run, or the router does not reach it. `RouterUnavailable` (retried) - the router
 * cannot say, so the backup stays until it can.
 */
export async function requireServing(
  { spec, router }: Pick<Place, 'spec' | 'router'>,
  states: readonly SlotState[],
  slot: Slot,
  signal?: AbortSignal,
): Promise<void> {
  const { project, name: environment } = spec;
  const where = `${slot} of ${project}/${environment}`;
  const found = states.find((each) => each.slot === slot);
  if (found === undefined) throw new ProviderError('ReleaseDegraded', `Nothing is in ${where} any more.`);
  const { version } = found.release;
  if (found.state !== 'running') {
    const code = found.exitCode === undefined ? '' : ` with exit code ${found.exitCode}`;
    throw new ProviderError('ReleaseDegraded', `${version} in ${where} does not run: it is ${found.state}${code}.`);
  }
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const { running } = await router.readTraffic({ project, environment });
    if (running === 'unreachable') {
      throw new ProviderError('RouterUnavailable', `the router does not say whether it reaches ${version} in ${where}`);
    }
    const server = running?.servers.find((each) => each.slot === slot && each.role === 'live');
    if (server?.up !== false) return;
    if (performance.now() >= deadline) {
      throw new ProviderError('ReleaseDegraded', `The router does not reach ${version} in ${where}.`);
    }
    await delay(everyMs, undefined, { signal });
  }
}
