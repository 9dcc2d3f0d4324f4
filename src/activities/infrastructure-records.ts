import { createHash } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import type { DeploymentRef } from '../domain/deployment.ts';
import { ProviderError } from '../domain/failures.ts';
import type { InfrastructurePlan } from '../domain/infrastructure.ts';
import { seal, unseal } from '../effects/seal.ts';
import type { BlobStore } from '../providers/blobs/port.ts';

/** What is known of the saved plan of a deployment; the plan itself lies beside it, encrypted. */
export interface PlanRecord extends InfrastructurePlan {
  /** Everything that it was made of: another one needs another plan. */
  readonly inputs: string;
  /** What the state was. */
  readonly stateMark: string;
}

/** Attempts to apply one plan, so that a later one knows what an earlier one may have left. */
export interface AttemptRecord {
  readonly since: string;
  /** As the locks of the workers name them. */
  readonly who: readonly string[];
}

/** What is kept of the plans of one deployment. */
export interface KeptPlans {
  readonly number: number;
  readonly sizeBytes: number;
}

/** Saved plans, and how far each one got, in the blob store: whoever applies a plan may be another machine. Never served by the API. */
export interface InfrastructureRecords {
  readPlan(ref: DeploymentRef): Promise<PlanRecord | undefined>;
  /** Says that a plan is being made, of which something may be left before it is kept. */
  beginPlan(ref: DeploymentRef): Promise<void>;
  /** Encrypts the plan and makes it the one of the deployment. @returns its SHA-256. */
  keepPlan(ref: DeploymentRef, content: Buffer, key: string, record: Omit<PlanRecord, 'plan'>): Promise<string>;
  /** @throws `NotFound`, `SecretMissing` (not retried): it is gone, cannot be decrypted, or is not what was approved */
  openPlan(ref: DeploymentRef, plan: string, key: string): Promise<Buffer>;
  /** Says that an attempt to apply the plan begins. @returns what is known of earlier ones; undefined for the first. */
  beginAttempt(
    ref: DeploymentRef & { readonly plan: string },
    who: string | undefined,
  ): Promise<AttemptRecord | undefined>;
  /** The state after the plan was applied; undefined while it is not. */
  readApplied(ref: DeploymentRef, plan: string): Promise<string | undefined>;
  /** Writes it down, and removes this plan and every one that waits for an earlier deployment: their state is gone, so they are stale. */
  keepApplied(ref: DeploymentRef, plan: string, stateMark: string): Promise<void>;
  /** Deployments of an environment, by number, of which anything is kept that has no use once they are over. */
  listKept(place: Omit<DeploymentRef, 'number'>): Promise<readonly KeptPlans[]>;
  /** Removes all of that: plans, and how far they got. A state that could not be brought to its backend stays, for it is the only one. */
  removeKept(ref: DeploymentRef): Promise<void>;
  /** A state that could not be brought to its backend, encrypted. @returns the key of the blob. */
  keepState(ref: DeploymentRef, content: Buffer, key: string): Promise<string>;
  /** The newest of them of a deployment, by the key of its blob; undefined where there is none. */
  findState(ref: DeploymentRef): Promise<string | undefined>;
}

/** There from before the first plan is made until nothing is kept any more. */
const marker = 'planning.json';

export function createInfrastructureRecords(blobs: BlobStore): InfrastructureRecords {
  const placeOf = ({ project, environment }: Omit<DeploymentRef, 'number'>): string =>
    `infrastructure/${project}/${environment}`;
  const at = (ref: DeploymentRef, name: string): string => `${placeOf(ref)}/${ref.number}/${name}`;

  async function list(
    place: Omit<DeploymentRef, 'number'>,
  ): Promise<readonly { key: string; number: number; name: string; sizeBytes: number }[]> {
    const prefix = placeOf(place);
    return (await blobs.list(prefix)).map(({ key, sizeBytes }) => {
      const [number = '', name = ''] = key.slice(prefix.length + 1).split('/');
      return { key, number: Number(number), name, sizeBytes };
    });
  }
  const isState = (name: string): boolean => name.endsWith('.tfstate');

  async function bytes(key: string): Promise<Buffer | undefined> {
    try {
      return await buffer(await blobs.read(key));
    } catch (error) {
      if (error instanceof ProviderError && error.type === 'NotFound') return undefined;
      throw error;
    }
  }
  async function read<T>(key: string): Promise<T | undefined> {
    const found = await bytes(key);
    return found === undefined ? undefined : (JSON.parse(found.toString()) as T);
  }
  const write = async (key: string, value: unknown): Promise<void> => {
    await blobs.put(key, Buffer.from(JSON.stringify(value)));
  };

  return {
    readPlan: (ref) => read(at(ref, 'current.json')),
    beginPlan: (ref) => write(at(ref, marker), { since: new Date().toISOString() }),

    async keepPlan(ref, content, key, record) {
      const plan = createHash('sha256').update(content).digest('hex');
      const blob = at(ref, `${plan}.plan`);
      await blobs.put(blob, seal(content, key, blob));
      // Last: a record whose plan is not there would be asked people for.
      await write(at(ref, 'current.json'), { ...record, plan } satisfies PlanRecord);
      return plan;
    },

    async openPlan(ref, plan, key) {
      const blob = at(ref, `${plan}.plan`);
      const sealed = await bytes(blob);
      if (sealed === undefined)
        throw new ProviderError('NotFound', `The saved plan ${plan.slice(0, 8)} is no longer kept.`);
      const content = unseal(sealed, key, blob);
      if (createHash('sha256').update(content).digest('hex') === plan) return content;
      throw new ProviderError('NotFound', `${blob} is not the plan that was approved.`);
    },

    async beginAttempt(ref, who) {
      const key = at(ref, `${ref.plan}.applying.json`);
      const before = await read<AttemptRecord>(key);
      const names = who === undefined ? [] : [who];
      await write(key, {
        since: before?.since ?? new Date().toISOString(),
        who: [...new Set([...(before?.who ?? []), ...names])],
      } satisfies AttemptRecord);
      return before;
    },

    readApplied: async (ref, plan) =>
      (await read<{ readonly stateMark: string }>(at(ref, `${plan}.applied.json`)))?.stateMark,
    async keepApplied(ref, plan, stateMark) {
      await write(at(ref, `${plan}.applied.json`), { stateMark, at: new Date().toISOString() });
      const over = (await list(ref)).filter(({ number, name }) => name.endsWith('.plan') && number <= ref.number);
      await Promise.all(over.map(({ key }) => blobs.remove(key)));
    },

    async listKept(place) {
      const sizes = new Map<number, number>();
      for (const { number, name, sizeBytes } of await list(place)) {
        if (!isState(name)) sizes.set(number, (sizes.get(number) ?? 0) + sizeBytes);
      }
      return [...sizes].map(([number, sizeBytes]) => ({ number, sizeBytes })).sort((a, b) => a.number - b.number);
    },
    async removeKept(ref) {
      const names = (await list(ref)).filter(({ number, name }) => number === ref.number && !isState(name));
      // The record first: a record whose plan is not there would be asked people for. The marker last: what is left is found by it.
      const rank = (name: string): number => (name === 'current.json' ? 0 : name === marker ? 2 : 1);
      for (const { key } of names.sort((a, b) => rank(a.name) - rank(b.name))) await blobs.remove(key);
    },

    async keepState(ref, content, key) {
      const blob = at(ref, `errored-${Date.now()}.tfstate`);
      await blobs.put(blob, seal(content, key, blob));
      return blob;
    },
    async findState(ref) {
      const states = (await list(ref)).filter(({ number, name }) => number === ref.number && isState(name));
      return states
        .map(({ key }) => key)
        .sort()
        .at(-1);
    },
  };
}
