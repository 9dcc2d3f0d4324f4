import { setTimeout as delay } from 'node:timers/promises';
import { WorkflowNotFoundError } from '@temporalio/client';
import { fc } from './property.ts';
import type { DeploymentInput } from '../../src/domain/deployment.ts';
import { outcomes } from '../../src/domain/outcome.ts';
import { deploymentId, environmentId, provableDecision, rollbackId, rolloutId } from '../../src/workflows/messages.ts';
import type { World } from './fake-activities.ts';
import { broken, closeLostRows, isOpen, planOf, quietPolicy, stayUntil, watched } from './fake-activities.ts';
import { testProofs } from './proofs.ts';
import type { WorkflowEnv } from './workflow-env.ts';

/** One thing that happens to an environment. Numbers choose among the deployments there are by then. */
export type Event =
  | { readonly kind: 'request'; readonly flavour: Flavour }
  | { readonly kind: 'approve' | 'reject'; readonly which: number; readonly by: 'update' | 'signal' }
  | { readonly kind: 'abort'; readonly which: number; readonly noRollback: boolean }
  | { readonly kind: 'rollback'; readonly to: 'previous' | 'first' }
  | { readonly kind: 'terminate'; readonly what: 'deployment' | 'environment' | 'turn'; readonly which: number }
  | { readonly kind: 'change-configuration' }
  | { readonly kind: 'reconcile' | 'freeze' | 'thaw' }
  | { readonly kind: 'restart-workers' }
  | { readonly kind: 'pause'; readonly ms: number };

/** What happens to one environment alone. */
type Happening = Exclude<Event, { readonly kind: 'restart-workers' }>;

export interface Flavour {
  readonly priority: 'routine' | 'hotfix';
  readonly approval: 'none' | 'release' | 'hold';
  /** The time for deciding is so short that it is up before anybody can. */
  readonly expires: boolean;
  readonly queue: 'keep-all' | 'supersede';
  /** The wait for the turn is that short. */
  readonly impatient: boolean;
  /** What its run has thought of it, right or wrong: nobody has to approve it. */
  readonly waitsForNobody: boolean;
  readonly fate: 'fine' | 'bad-probe' | 'bad-watch' | 'long-watch' | 'data-held' | 'undo-fails';
}

const flavour: fc.Arbitrary<Flavour> = fc.record({
  priority: fc.constantFrom('routine', 'routine', 'hotfix'),
  approval: fc.constantFrom('none', 'none', 'release', 'hold'),
  expires: fc.constantFrom(false, false, false, true),
  queue: fc.constantFrom('keep-all', 'supersede'),
  impatient: fc.constantFrom(false, false, false, false, true),
  waitsForNobody: fc.boolean(),
  fate: fc.constantFrom(
    'fine',
    'fine',
    'long-watch',
    'long-watch',
    'bad-probe',
    'bad-watch',
    'data-held',
    'undo-fails',
  ),
});

const which = fc.nat({ max: 7 });

const event: fc.Arbitrary<Event> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('request' as const), flavour }) },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom('approve' as const, 'approve' as const, 'reject' as const),
      which,
      by: fc.constantFrom('update' as const, 'signal' as const),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('abort' as const), which, noRollback: fc.boolean() }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('rollback' as const),
      to: fc.constantFrom('previous' as const, 'first' as const),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('terminate' as const),
      what: fc.constantFrom('deployment' as const, 'environment' as const, 'turn' as const),
      which,
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('change-configuration' as const) }) },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constantFrom('reconcile' as const, 'reconcile' as const, 'thaw' as const, 'freeze' as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart-workers' as const) }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('pause' as const), ms: fc.nat({ max: 120 }) }) },
);

/** What happens to one environment, from its first request on. */
export interface Order {
  readonly events: readonly Event[];
  /** So small that the environment continues as new between nearly all turns. */
  readonly maxHistoryEvents: number;
  /** Whether something serves already, so that there is a release to go back to. */
  readonly live: boolean;
}

export const order: fc.Arbitrary<Order> = fc.record({
  events: fc
    .tuple(flavour, fc.array(event, { minLength: 3, maxLength: 14 }))
    .map(([first, rest]): Event[] => [{ kind: 'request', flavour: first }, ...rest]),
  maxHistoryEvents: fc.constantFrom(5_000, 60, 25),
  live: fc.constantFrom(true, true, true, false),
});

const environment = 'production';
const updateMs = 1_000;

/** One environment under an order. The next state of the real one is too much to predict; what must never be is not. */
export class OrderRun {
  readonly world: World;
  readonly #env: WorkflowEnv;
  readonly #order: Order;
  readonly #flavours = new Map<number, Flavour>();
  #over = false;
  readonly #terminated = new Set<number>();
  #rollbacksAsked = 0;

  constructor(env: WorkflowEnv, given: Order) {
    this.#env = env;
    this.#order = given;
    this.world = env.world();
    this.world.maxHistoryEvents = given.maxHistoryEvents;
    if (given.live) this.#bringToLife();
    this.#decideFates();
  }

  /** Does everything in turn, in real time. */
  async play(restartWorkers: () => Promise<void>): Promise<void> {
    for (const next of this.#order.events) {
      if (next.kind === 'restart-workers') await restartWorkers();
      else await this.#do(next);
    }
    this.#over = true;
  }

  /** Ends the environment, which would go on for ever. */
  async end(): Promise<void> {
    await reach(this.#env.client.workflow.getHandle(environmentId(this.world.project, environment)).terminate('over'));
  }

  /** Whether everything that was begun is over. Looks at memory first, for asking the server all the time would be most of its work. */
  async settled(): Promise<boolean> {
    const rows = [...this.world.rows.values()];
    if (rows.some(({ input, results }) => results.length === 0 && !this.#terminated.has(input.number))) return false;
    for (const { input } of rows) {
      for (const id of [deploymentId(input), rolloutId(input), rollbackId(input)]) {
        if (await isOpen(this.#env.client, id)) return false;
      }
    }
    return true;
  }

  /** Whether a rollback was asked for that has no number yet: it comes when the environment gets to it, or is refused and never comes. */
  get awaitsRollback(): boolean {
    return this.world.rows.size < this.#flavours.size + this.#rollbacksAsked;
  }

  /** @returns what is wrong, empty when nothing is; call it after every deadline has passed. */
  async judge(): Promise<readonly string[]> {
    const { client } = this.#env;
    const wrong = [...this.world.violations];
    await closeLostRows(client, this.world);
    for (const { input, results } of this.world.rows.values()) {
      const id = deploymentId(input);
      if (results.length !== 1)
        wrong.push(
          `${id} has ${String(results.length)} outcomes: ${results.map((one) => `${one.outcome} (${one.reason})`).join(' | ')}`,
        );
      for (const result of results)
        if (!outcomes.includes(result.outcome)) wrong.push(`${id}: no outcome of ours: ${result.outcome}`);
      for (const workflowId of [id, rolloutId(input), rolloutId(input, 2), rolloutId(input, 3), rollbackId(input)]) {
        if (await isOpen(client, workflowId)) wrong.push(`${workflowId} waits for ever`);
      }
    }
    wrong.push(...(await this.#overlaps()));
    return wrong;
  }

  async #do(next: Happening): Promise<void> {
    const { client } = this.#env;
    const ours = client.workflow.getHandle(environmentId(this.world.project, environment));
    switch (next.kind) {
      case 'request': {
        await this.#request(next.flavour);
        return;
      }
      case 'approve':
      case 'reject': {
        await this.#decide(next);
        return;
      }
      case 'abort': {
        const input = this.#pick(next.which);
        const abort = { by: 'ops', reason: 'model', noRollback: next.noRollback };
        await reach(client.workflow.getHandle(deploymentId(input)).signal('abort', abort));
        return;
      }
      case 'rollback': {
        const message = { by: 'ops', reason: 'model', ...(next.to === 'first' ? { to: '1.0.1' } : {}) };
        await reach(ours.signal('rollback', message));
        this.#rollbacksAsked += 1;
        return;
      }
      case 'terminate': {
        await this.#terminate(next.what, next.which);
        return;
      }
      case 'change-configuration':
        this.world.configuration += '+';
        return;
      case 'reconcile': {
        await this.#update(ours.workflowId, 'reconcile', { by: 'ops', reason: 'model' });
        return;
      }
      case 'freeze': {
        await this.#update(ours.workflowId, 'freeze', { by: 'ops', reason: 'model' });
        return;
      }
      case 'thaw': {
        await this.#update(ours.workflowId, 'thaw', { by: 'ops' });
        return;
      }
      case 'pause': {
        await delay(next.ms);
        return;
      }
    }
  }

  async #request(flavoured: Flavour): Promise<void> {
    const input = this.world.open(environment, {
      priority: flavoured.priority,
      ...(flavoured.waitsForNobody ? { waitsForNobody: true as const } : {}),
    });
    this.#flavours.set(input.number, flavoured);
    await this.#env.client.workflow.start('deployRelease', {
      workflowId: deploymentId(input),
      taskQueue: 'orchestration',
      args: [input],
    });
  }

  async #decide(next: Extract<Event, { kind: 'approve' | 'reject' }>): Promise<void> {
    const input = this.#pick(next.which);
    const handle = this.#env.client.workflow.getHandle(deploymentId(input));
    const words = { by: 'lin', plan: planOf(input, this.world).hash, groups: ['ops'] };
    if (next.by === 'signal') await reach(handle.signal(next.kind, words));
    else {
      const proof = testProofs.prove(provableDecision(deploymentId(input), next.kind, words));
      await this.#update(deploymentId(input), next.kind, { ...words, proof });
    }
  }

  async #update(workflowId: string, name: string, words: object): Promise<void> {
    const { client } = this.#env;
    // An update that is sent to a workflow in its last moments may never be answered.
    await client.withDeadline(Date.now() + updateMs, () =>
      reach(client.workflow.getHandle(workflowId).executeUpdate(name, { args: [words] })),
    );
  }

  async #terminate(what: 'deployment' | 'environment' | 'turn', index: number): Promise<void> {
    const input = this.#pick(index);
    const ids = {
      deployment: [deploymentId(input)],
      environment: [environmentId(input.project, environment)],
      turn: [rolloutId(input), rollbackId(input)],
    }[what];
    if (what === 'deployment') this.#terminated.add(input.number);
    for (const id of ids) await reach(this.#env.client.workflow.getHandle(id).terminate('model'));
  }

  #pick(index: number): DeploymentInput {
    const inputs = [...this.world.rows.values()].map((row) => row.input);
    const input = inputs[index % inputs.length];
    if (input === undefined) throw new Error('an order begins with a request');
    return input;
  }

  #bringToLife(): void {
    const place = this.world.place(environment);
    place.slots.set('blue', { version: '0.9.0', deployment: 0 });
    place.traffic = 'blue';
  }

  #decideFates(): void {
    const fateOf = (number: number): Flavour['fate'] => this.#flavours.get(number)?.fate ?? 'fine';
    this.world
      .on('planDeployment', (input, world) => {
        const plan = planOf(input, world);
        return { ...plan, policy: policyOf(this.#flavours.get(input.number)) };
      })
      .on('runProbes', ({ number, through, version }) => {
        const own = version === `1.0.${String(number)}`;
        const verdict =
          own && fateOf(number) === 'bad-probe' && through === 'slot' ? ('failed' as const) : ('passed' as const);
        return { verdict, probes: [{ name: 'http', verdict, detail: through, durationMs: 1 }] };
      })
      .on('watchRelease', async ({ number }) => {
        const fate = fateOf(number);
        const began = performance.now();
        if (fate === 'long-watch') await stayUntil(() => this.#over || performance.now() - began > 150);
        return fate === 'fine' || fate === 'long-watch' ? watched('passed', 'fine') : watched('failed', 'bad');
      })
      .on('ensureDataRolledBack', ({ number }) => {
        if (fateOf(number) === 'undo-fails') throw broken('RestoreFailed', 'no way');
        const action = fateOf(number) === 'data-held' ? ('held' as const) : ('left' as const);
        return { action, detail: 'model' };
      });
  }

  /** Exact, from the server's own times: no turn begins before the one before it has closed. */
  async #overlaps(): Promise<string[]> {
    const spans: { readonly id: string; readonly from: number; readonly to: number }[] = [];
    for (const { input } of this.world.rows.values()) {
      for (const id of [rolloutId(input), rolloutId(input, 2), rolloutId(input, 3), rollbackId(input)]) {
        try {
          const { startTime, closeTime } = await this.#env.client.workflow.getHandle(id).describe();
          spans.push({ id, from: startTime.getTime(), to: closeTime?.getTime() ?? Number.POSITIVE_INFINITY });
        } catch (error) {
          if (!(error instanceof WorkflowNotFoundError)) throw error;
        }
      }
    }
    spans.sort((left, right) => left.from - right.from || left.to - right.to);
    return spans.flatMap((span, index) => {
      const before = spans[index - 1];
      return before !== undefined && before.to > span.from ? [`${before.id} and ${span.id} were open at once`] : [];
    });
  }
}

function policyOf(flavoured: Flavour | undefined) {
  if (flavoured === undefined) return quietPolicy;
  const { approval, expires, queue, impatient } = flavoured;
  return {
    ...quietPolicy,
    approval: {
      required: approval !== 'none',
      rules: [{ group: 'ops', count: 1 }],
      allowAuthor: false,
      timeoutMs: expires ? 40 : 4_000,
      turn: approval === 'hold' ? ('hold' as const) : ('release' as const),
    },
    queue: { mode: queue, timeoutMs: impatient ? 30 : 8_000, askAgainMs: 2_000 },
    limits: { ...quietPolicy.limits, keepPreviousMs: 300 },
  };
}

/** A message to a workflow that may have closed, or may refuse: both are answers. */
async function reach(message: Promise<unknown>): Promise<void> {
  try {
    await message;
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return;
    const { name } = error as Error;
    if (['WorkflowUpdateFailedError', 'WorkflowUpdateRPCTimeoutOrCancelledError'].includes(name)) return;
    throw error;
  }
}

/**
 * Nothing has happened for this long: what has not ended by then never will. Far longer than any pause of {@link policyOf}, for the machine may
 * be busy with other things.
 */
const quietMs = 90_000;
/** Who asks again for ever makes noise for ever. */
const longestMs = 300_000;
/** Ending all workers takes seconds from every order under way. */
const restartEveryMs = 10_000;

/** Lets many orders go on side by side over the same workers. */
export class Stage {
  readonly #env: WorkflowEnv;
  #restarting: Promise<void> | undefined;
  #restartedAt = performance.now();

  constructor(env: WorkflowEnv) {
    this.#env = env;
  }

  /** Plays one order, waits until everything has ended or should have. @returns what is wrong with it. */
  async play(given: Order, look: (run: OrderRun) => void = () => undefined): Promise<readonly string[]> {
    const run = new OrderRun(this.#env, given);
    await run.play(() => this.#restart());
    await untilQuiet(run);
    const wrong = await run.judge();
    await run.end();
    look(run);
    return wrong;
  }

  async #restart(): Promise<void> {
    if (this.#restarting === undefined && performance.now() - this.#restartedAt < restartEveryMs) return;
    this.#restarting ??= this.#env.restartWorkers().finally(() => {
      this.#restartedAt = performance.now();
      this.#restarting = undefined;
    });
    await this.#restarting;
  }
}

/** A rollback that has not come by then was refused; an environment answers within tens of milliseconds. */
const refusedMs = 3_000;

async function untilQuiet(run: OrderRun): Promise<void> {
  const began = performance.now();
  let quietSince = began;
  let seen = 0;
  for (;;) {
    const settled = await run.settled();
    if (settled && !run.awaitsRollback) return;
    const now = performance.now();
    if (run.world.calls.length !== seen) quietSince = now;
    seen = run.world.calls.length;
    if (now - quietSince > (settled ? refusedMs : quietMs) || now - began > longestMs) return;
    await delay(500);
  }
}
