import { isRunning } from '../effects/daemon.ts';
import { type ApplicationPostgresHandle, ensureApplicationPostgres } from './application-postgres.ts';
import { type LocalContext, type LocalOptions, createLocalContext } from './context.ts';
import { stopState } from './daemons.ts';
import { type DockerHandle, ensureDocker, isContainerRunning, removeContainer, stopDocker } from './docker.ts';
import { type ImageHandle, ensureNodeBaseImage, ensureToolsImage } from './images.ts';
import { type RegistryHandle, ensureRegistry } from './registry.ts';
import { type RouterHandle, ensureRouter } from './router.ts';
import { type ComponentState, listStates } from './state.ts';
import { type StoreHandle, ensureStore } from './store-postgres.ts';
import { type TemporalHandle, type TemporalOptions, ensureTemporal } from './temporal.ts';

/** Addresses that the person names; each one named is used and not started. */
export interface ConfiguredComponents {
  readonly temporal?: TemporalOptions | undefined;
  /** `DATABASE_URL`. */
  readonly storeUrl?: string | undefined;
  /** `DOCKER_HOST`. */
  readonly dockerHost?: string | undefined;
  readonly registryUrl?: string | undefined;
}

/** Every component, by the name under which it is asked for. */
export interface LocalComponents {
  readonly temporal: TemporalHandle;
  readonly store: StoreHandle;
  readonly docker: DockerHandle;
  readonly registry: RegistryHandle;
  readonly router: RouterHandle;
  readonly applicationPostgres: ApplicationPostgresHandle;
  readonly nodeImage: ImageHandle;
  readonly toolsImage: ImageHandle;
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
  /** Of what each failure is; whoever needs that fails by the same one. */
  const told = new Map<unknown, ComponentName>();
  const tell = (name: ComponentName, error: unknown): void => {
    const of = told.get(error);
    if (of === name) return;
    if (of === undefined) told.set(error, name);
    const message = of === undefined ? `cannot be had: ${firstLineOf(error)}` : `not started: needs ${of}`;
    context.report({ component: name, message, elapsedMs: 0 });
  };
  const docker = once(async () => {
    try {
      return await ensureDocker(context, { address: configured.dockerHost });
    } catch (error) {
      tell('docker', error);
      throw error;
    }
  });
  const parts: { readonly [N in ComponentName]: () => Promise<LocalComponents[N]> } = {
    temporal: () => ensureTemporal(context, configured.temporal),
    store: () => ensureStore(context, { url: configured.storeUrl }),
    docker,
    registry: () => ensureRegistry(context, { url: configured.registryUrl, docker }),
    router: async () => ensureRouter(context, await docker()),
    applicationPostgres: async () => ensureApplicationPostgres(context, await docker()),
    nodeImage: async () => ensureNodeBaseImage(context, await docker()),
    toolsImage: async () => ensureToolsImage(context, await docker()),
  };
  // Whoever fails is told at once; thrown is it when nothing is on the way any more, so that what was started can be ended.
  const begun = options.want.map(async (name) => {
    try {
      return [name, await parts[name]()] as const;
    } catch (error) {
      tell(name, error);
      throw error;
    }
  });
  await Promise.allSettled(begun);
  const handles = await Promise.all(begun);
  return Object.fromEntries(handles) as unknown as Pick<LocalComponents, W>;
}

function firstLineOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0] ?? '';
}

function once<T>(work: () => Promise<T>): () => Promise<T> {
  let begun: Promise<T> | undefined;
  return () => (begun ??= work());
}

/** A component as `status` shows it. */
export interface ComponentStatus extends ComponentState {
  readonly running: boolean;
}

/** What this installation started, running or not; nothing is started. */
export async function status(options: LocalOptions = {}): Promise<ComponentStatus[]> {
  const states = listStates(createLocalContext(options));
  return await Promise.all(states.map(async (state) => ({ ...state, running: await runs(state) })));
}

async function runs({ process, container }: ComponentState): Promise<boolean> {
  if (container !== undefined) return await isContainerRunning(container);
  return process !== undefined && isRunning(process);
}

export interface DownOptions extends LocalOptions {
  /**
   * `keep`, the default: the engine, its router and containers and the applications' database go on. `end`: they are
   * ended too, with every container on an engine that this installation started.
   */
  readonly target?: 'keep' | 'end' | undefined;
  /** Names of components as in {@link status}. Default: every one. */
  readonly only?: readonly string[] | undefined;
}

/** What {@link down} did. */
export interface DownResult {
  readonly ended: readonly string[];
  /** Name and reason of what goes on. */
  readonly kept: readonly string[];
}

/** Ends what this installation started, and nothing else. */
export async function down(options: DownOptions = {}): Promise<DownResult> {
  const context = createLocalContext(options);
  const states = listStates(context).filter(({ name }) => options.only?.includes(name) ?? true);
  const ended: string[] = [];
  const kept: string[] = [];
  const end = async (state: ComponentState): Promise<void> => {
    if (!(await runs(state))) return;
    if (state.owner === 'target' && options.target !== 'end') {
      kept.push(`${state.name}: what was deployed needs it`);
      return;
    }
    const reason = await endOne(context, state);
    if (reason === undefined) ended.push(state.name);
    else kept.push(`${state.name}: ${reason}`);
  };
  // The engine last: what is on it must be told through it.
  await Promise.all(states.filter(({ name }) => name !== 'docker').map(end));
  await Promise.all(states.filter(({ name }) => name === 'docker').map(end));
  return { ended, kept };
}

/** @returns why it goes on, or undefined where it does not. */
async function endOne(context: LocalContext, state: ComponentState): Promise<string | undefined> {
  if (state.name === 'docker') return await stopDocker(context, { containers: 'remove' });
  await (state.container === undefined ? stopState(context, state) : removeContainer(context, state));
  return undefined;
}
