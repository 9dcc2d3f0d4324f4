import { type LocalContext, type LocalOptions, createLocalContext } from './context.ts';
import { type ComponentHandle, stopState } from './daemons.ts';
import { isRunning } from '../effects/daemon.ts';
import { type ComponentState, listStates } from './state.ts';
import { type TemporalHandle, type TemporalOptions, ensureTemporal } from './temporal.ts';

/** Addresses that the person names; each one named is used and not started. */
export interface ConfiguredComponents {
  readonly temporal?: TemporalOptions | undefined;
}

/** Every component, by the name under which it is asked for. */
export interface LocalComponents {
  readonly temporal: TemporalHandle;
}

export type ComponentName = keyof LocalComponents;

export interface UpOptions<W extends ComponentName> extends LocalOptions {
  readonly want: readonly W[];
  readonly configured?: ConfiguredComponents | undefined;
}

/**
 * Finds or starts what is wanted, and what that needs in turn, side by side where nothing stands between them.
 *
 * @throws ProviderError - the first component that cannot be had; what was started by then keeps running and is found
 * by the next call.
 */
export async function up<W extends ComponentName>(options: UpOptions<W>): Promise<Pick<LocalComponents, W>> {
  const context = createLocalContext(options);
  const configured = options.configured ?? {};
  const parts: { [N in ComponentName]: () => Promise<LocalComponents[N]> } = {
    temporal: () => ensureTemporal(context, configured.temporal),
  };
  const found = await Promise.all(options.want.map(async (name) => [name, await parts[name]()] as const));
  return Object.fromEntries(found) as unknown as Pick<LocalComponents, W>;
}

/** A component as `status` shows it. */
export interface ComponentStatus extends ComponentState {
  readonly running: boolean;
}

/** What this installation started, running or not; nothing is started or asked. */
export function status(options: LocalOptions = {}): ComponentStatus[] {
  return listStates(createLocalContext(options)).map((state) => ({
    ...state,
    running: state.process !== undefined && isRunning(state.process),
  }));
}

/**
 * Ends what this installation started, and nothing else.
 *
 * @returns the names of what was ended.
 */
export async function down(options: LocalOptions = {}): Promise<string[]> {
  const context: LocalContext = createLocalContext(options);
  const ended = await Promise.all(
    listStates(context).map(async (state) => ((await stopState(context, state)) ? state.name : undefined)),
  );
  return ended.filter((name) => name !== undefined);
}

export type { ComponentHandle };
