import { ProviderError } from '../../../src/domain/failures.ts';
import type { SlotRef, SlotSpec, SlotState, SlotStats, Target } from '../../../src/providers/targets/port.ts';

/** A target in memory, with what a test must be able to do to it. */
export interface FakeTarget extends Target {
  /** From now on releases of this version are not healthy. */
  makeUnhealthy(version: string): void;
  /** A port that somebody else has. */
  takePort(port: number): void;
  setStats(slot: string, stats: Omit<SlotStats, 'at'>): void;
  /** Every placement and stop, in order, such as `start green 1.4.0`. */
  readonly calls: readonly string[];
}

/** Keeps the promises of {@link Target} without a platform. */
export function createFakeTarget(): FakeTarget {
  const slots = new Map<string, { state: SlotState; made: string }>();
  const unhealthy = new Set<string>();
  const taken = new Set<number>();
  const stats = new Map<string, Omit<SlotStats, 'at'>>();
  const calls: string[] = [];
  let count = 0;
  const key = (ref: SlotRef): string => `${ref.project}/${ref.environment}/${ref.slot}`;

  function requireSlot(ref: SlotRef): { state: SlotState; made: string } {
    const found = slots.get(key(ref));
    if (found === undefined) throw new ProviderError('ReleaseMissing', `nothing is in slot ${ref.slot}`);
    return found;
  }
  function setState(ref: SlotRef, change: Partial<SlotState>): void {
    const found = slots.get(key(ref));
    if (found !== undefined) slots.set(key(ref), { ...found, state: { ...found.state, ...change } });
  }
  function madeOf(spec: SlotSpec): string {
    return JSON.stringify({ ...spec, deployment: 0 });
  }

  return {
    calls,
    makeUnhealthy: (version) => void unhealthy.add(version),
    takePort: (port) => void taken.add(port),
    setStats: (slot, load) => void stats.set(slot, load),
    readPlatform: () => Promise.resolve('linux/amd64'),
    async ensureSlot(spec) {
      await Promise.resolve();
      const found = slots.get(key(spec));
      const made = madeOf(spec);
      const name = `${spec.project}-${spec.environment}-${spec.slot}-${spec.release.version}`;
      if (found?.made === made && found.state.state === 'running') {
        return { changed: false, name, id: found.state.id };
      }
      slots.delete(key(spec));
      const holder = [...slots.values()].find(
        ({ state }) => state.hostPort === spec.hostPort && state.state === 'running',
      );
      if (taken.has(spec.hostPort) || holder !== undefined) {
        throw new ProviderError('PortTaken', `port ${spec.hostPort} is taken`, {
          details: { port: spec.hostPort, owner: holder === undefined ? 'the test' : `container ${holder.state.name}` },
        });
      }
      count += 1;
      const id = found?.made === made ? found.state.id : `fake-${count}`;
      calls.push(`start ${spec.slot} ${spec.release.version}`);
      slots.set(key(spec), {
        made,
        state: {
          project: spec.project,
          environment: spec.environment,
          slot: spec.slot,
          release: spec.release,
          image: `${spec.image.repository}@${spec.image.digest}`,
          deployment: spec.deployment,
          name,
          id,
          state: 'running',
          health: 'none',
          hostPort: spec.hostPort,
          startedAt: new Date().toISOString(),
          restarts: 0,
        },
      });
      return { changed: true, name, id };
    },
    async awaitHealthy(ref) {
      await Promise.resolve();
      const { state } = requireSlot(ref);
      if (state.state === 'running' && !unhealthy.has(state.release.version)) return 1;
      throw new ProviderError('ContainerUnhealthy', `container ${state.name} is not healthy`, {
        details: { container: state.name, lastLines: [], tries: ['1 ms: made unhealthy by the test'] },
      });
    },
    async ensureSlotStopped(ref) {
      await Promise.resolve();
      if (slots.get(key(ref))?.state.state !== 'running') return;
      calls.push(`stop ${ref.slot}`);
      setState(ref, { state: 'exited', exitCode: 0 });
    },
    async ensureSlotRemoved(ref) {
      await Promise.resolve();
      if (slots.delete(key(ref))) calls.push(`remove ${ref.slot}`);
    },
    async readSlots({ project, environment }) {
      await Promise.resolve();
      return [...slots.values()]
        .map(({ state }) => state)
        .filter(
          (state) => state.project === project && (environment === undefined || state.environment === environment),
        )
        .sort((a, b) => key(a).localeCompare(key(b)));
    },
    async readStats(ref) {
      await Promise.resolve();
      if (requireSlot(ref).state.state !== 'running') throw new ProviderError('ReleaseMissing', 'it does not run');
      const load = stats.get(ref.slot) ?? { cpuRatio: 0.1, memoryRatio: 0.2, memoryBytes: 1_000_000 };
      return { at: new Date().toISOString(), ...load };
    },
    async *tailLogs(_ref, _since, signal, onPresent) {
      onPresent?.();
      await new Promise<void>((resolve) => {
        if (signal.aborted) resolve();
        else signal.addEventListener('abort', () => resolve(), { once: true });
      });
      yield* [];
    },
    async readLastLines(ref) {
      await Promise.resolve();
      return slots.has(key(ref)) ? [`${ref.slot} has started`] : [];
    },
    async exec(ref) {
      await Promise.resolve();
      if (requireSlot(ref).state.state !== 'running') throw new ProviderError('ReleaseMissing', 'it does not run');
      return { exitCode: 0, stdout: '', stderr: '' };
    },
  };
}
