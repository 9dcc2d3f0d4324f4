import { randomUUID } from 'node:crypto';
import { ProviderError } from '../../../src/domain/failures.ts';
import { summarise } from '../../../src/domain/infrastructure.ts';
import { createRedactor } from '../../../src/effects/redact.ts';
import { staleError } from '../../../src/providers/infrastructures/terraform.ts';
import type { Infrastructure, InfrastructureRequest } from '../../../src/providers/infrastructures/port.ts';

/** Infrastructure of one thing, in memory. */
export interface FakeInfrastructure extends Infrastructure {
  colour(): string | undefined;
  /** Somebody else changes it. */
  change(colour: string): void;
  /** Names of the deployments whose plans have left something. */
  readonly left: Set<string>;
  /** The next `discard` is refused. */
  refusesDiscard: boolean;
  /** Of the calls of `apply` that changed something. */
  readonly applied: string[];
  /** The next `apply` does its work and then is no more, as a worker that was killed. */
  dieAfterApply: boolean;
  /** The same with half of the work done. */
  dieHalfWay: boolean;
}

export function createFakeInfrastructure(): FakeInfrastructure {
  let colour: string | undefined;
  let state = 'none';
  const lineage = randomUUID();
  let serial = 0;
  const set = (next: string): void => {
    colour = next;
    serial += 1;
    state = `${lineage}#${serial}`;
  };

  async function enter(request: InfrastructureRequest): Promise<string> {
    // It takes a moment, as every tool does.
    await new Promise(setImmediate);
    request.signal?.throwIfAborted();
    const wanted = request.variables['colour'] as string;
    if (wanted === 'refused')
      throw new ProviderError('InfrastructureFailed', 'the fake could not plan: there is no such colour');
    return wanted;
  }

  const fake: FakeInfrastructure = {
    applied: [],
    left: new Set(),
    refusesDiscard: false,
    dieAfterApply: false,
    dieHalfWay: false,
    colour: () => colour,
    change: set,
    lockHolder: () => 'fake@here',
    async plan(request) {
      const wanted = await enter(request);
      const secrets = [...Object.values(request.secrets), ...Object.values(request.secretVariables)];
      request.onLine?.(createRedactor(secrets).text(`plans ${wanted} with ${JSON.stringify(request.secretVariables)}`));
      const changes =
        colour === wanted
          ? []
          : ([{ address: 'thing.only', action: colour === undefined ? 'create' : 'update' }] as const);
      const content = Buffer.from(
        JSON.stringify({ colour: wanted, nonce: randomUUID(), secret: request.secretVariables }),
      );
      if (changes.length > 0) fake.left.add(request.name);
      return { content, summary: summarise(changes), state, tool: 'fake 1.0' };
    },
    async discard({ name }) {
      await new Promise(setImmediate);
      if (fake.refusesDiscard) throw new ProviderError('InfrastructureFailed', 'the fake is not allowed to');
      fake.left.delete(name);
    },
    async readState() {
      await new Promise(setImmediate);
      return state;
    },
    async apply({ name, plan, onLine }) {
      await new Promise(setImmediate);
      if (plan.state !== state) throw staleError('the fake');
      const wanted = (JSON.parse(plan.content.toString()) as { readonly colour: string }).colour;
      if (fake.dieHalfWay) {
        fake.dieHalfWay = false;
        set(`half ${wanted}`);
        throw new Error('killed');
      }
      fake.left.delete(name);
      if (wanted !== colour) {
        set(wanted);
        fake.applied.push(wanted);
      }
      onLine?.(`is ${wanted}`);
      if (fake.dieAfterApply) {
        fake.dieAfterApply = false;
        throw new Error('killed');
      }
      return { state };
    },
  };
  return fake;
}
