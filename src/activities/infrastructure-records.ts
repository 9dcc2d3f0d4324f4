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

/** Saved plans, and how far each one got, in the blob store: whoever applies a plan may be another machine. Never served by the API. */
export interface InfrastructureRecords {
  readPlan(ref: DeploymentRef): Promise<PlanRecord | undefined>;
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
  /** A state that could not be brought to its backend, encrypted. @returns the key of the blob. */
  keepState(ref: DeploymentRef, content: Buffer, key: string): Promise<string>;
}

export function createInfrastructureRecords(blobs: BlobStore): InfrastructureRecords {
  const at = ({ project, environment, number }: DeploymentRef, name: string): string =>
    `infrastructure/${project}/${environment}/${number}/${name}`;

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
      const place = `infrastructure/${ref.project}/${ref.environment}`;
      const over = (await blobs.list(place)).filter(({ key }) => {
        const [number = '', name = ''] = key.slice(place.length + 1).split('/');
        return name.endsWith('.plan') && Number(number) <= ref.number;
      });
      await Promise.all(over.map(({ key }) => blobs.remove(key)));
    },

    async keepState(ref, content, key) {
      const blob = at(ref, `errored-${Date.now()}.tfstate`);
      await blobs.put(blob, seal(content, key, blob));
      return blob;
    },
  };
}
