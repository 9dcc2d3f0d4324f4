import { setTimeout as delay } from 'node:timers/promises';
import type { ContainerProbeSpec } from '../../definition/specs/probe.ts';
import type { SlotState, Target } from '../targets/port.ts';
import type { Probe } from './port.ts';

/** How often a container whose own check has not spoken yet is looked at, ms. */
const startingPollMs = 100;

/** What runs in the slot is the release, well by the platform's own check, and has not been started again. */
export function createContainerProbe(spec: ContainerProbeSpec, target: Pick<Target, 'readSlots'>): Probe {
  return {
    name: spec.name,
    async check({ project, environment, slot, version }, signal) {
      let state: SlotState | undefined;
      for (;;) {
        try {
          const slots = await target.readSlots({ project, environment });
          state = slots.find((each) => each.slot === slot);
        } catch (error) {
          signal.throwIfAborted();
          const message = error instanceof Error ? error.message : String(error);
          return { verdict: 'errored', detail: 'the target could not be asked', said: message };
        }
        // The platform asks for the first time after one interval: an answer to wait for within this try, not a failure of it.
        if (state?.health !== 'starting' || signal.aborted) break;
        await delay(startingPollMs, undefined, { signal }).catch(() => undefined);
      }
      if (state === undefined) return { verdict: 'failed', detail: `nothing is in ${slot}` };
      const problem = wrongWith(state, version);
      return {
        verdict: problem === undefined ? 'passed' : 'failed',
        detail: `${state.name}: ${problem ?? `${state.state}, ${state.health === 'none' ? 'no check of its own' : state.health}`}`,
      };
    },
  };
}

function wrongWith(state: SlotState, version: string): string | undefined {
  if (state.release.version !== version) return `holds release ${state.release.version}, expected ${version}`;
  if (state.state !== 'running') {
    return `is ${state.state}${state.exitCode === undefined ? '' : ` with exit code ${state.exitCode}`}`;
  }
  if (state.health === 'unhealthy' || state.health === 'starting') return `is ${state.health} by its own check`;
  if (state.restarts > 0) return `was started again ${state.restarts} times`;
  return undefined;
}
