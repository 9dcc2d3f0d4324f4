import { log, patched } from '@temporalio/workflow';
import { describeFailure } from '../domain/failures.ts';
import type { LiveRelease } from '../domain/release.ts';
import { call } from './call.ts';
import { type Current, type EnvironmentCore, nextTurn } from './environment-core.ts';
import type { EnvironmentState } from './environment-state.ts';
import { compensation, undoLimits } from './proxies/undo.ts';

/** After a turn that changed nothing: the release before goes when it was to go. @returns false when nothing was planned for it. */
export function keepRetirement(state: EnvironmentState, { retire }: Current): boolean {
  if (retire === null || !patched('2026-11-26-retirement-goes-on')) return false;
  state.retire = retire;
  return true;
}

/** Stops the release before the live one, whose time has come, and frees its slot. */
export async function retireRelease({ state }: EnvironmentCore, release: LiveRelease): Promise<void> {
  const { project, environment, policy, live } = state;
  state.retire = null;
  // Whatever went wrong before, what serves is never stopped from here.
  if (release.slot === live?.slot) return;
  state.previous = null;
  const { drainMs, stopGraceMs: graceMs } = policy?.limits ?? { drainMs: 30_000, stopGraceMs: 30_000 };
  const { version, slot } = release;
  const change = { project, environment, number: live?.deployment ?? release.deployment, turn: nextTurn(state) };
  const stop = { slot, drainMs, graceMs, remove: true };
  try {
    const waits = undoLimits(drainMs + graceMs);
    const how = { ...change, step: 1, ...stop };
    await call(compensation.ensureReleaseStopped, `retires ${version} in ${slot}`, how, waits);
  } catch (error) {
    // It serves nobody; the next release takes its slot and with it what is left.
    log.warn('a retired release was not removed', { version, message: describeFailure(error).message });
  }
}
