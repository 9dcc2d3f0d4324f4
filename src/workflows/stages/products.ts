import { patched } from '@temporalio/workflow';
import { describeFailure } from '../../domain/failures.ts';
import { type PublishedPackage, publishTimeoutMs } from '../../domain/packages.ts';
import type { ImageReport, RunPlan, StageReport } from '../../domain/run.ts';
import { call } from '../call.ts';
import type { RunView } from '../messages.ts';
import { long } from '../proxies/run.ts';
import { onMachine } from './machine.ts';

/** What a run makes beside its checks: images that are built and pushed, packages that are published. */
export class Products {
  readonly #enter: (phase: RunView['phase']) => void;
  images: readonly ImageReport[] = [];
  packages: readonly PublishedPackage[] = [];

  constructor(enter: (phase: RunView['phase']) => void) {
    this.#enter = enter;
  }

  async buildImages(plan: RunPlan): Promise<void> {
    if (plan.buildImages === 'none' || plan.images.length === 0) return;
    const limits = onMachine(plan, plan.buildTimeoutMs);
    this.#enter('building');
    this.images = await call(long.buildImages, `builds ${plan.images.join(', ')}`, { run: plan.run, plan }, limits);
  }

  /** What is published can never be taken back, so it comes when every check has passed and every image was built and scanned. */
  async publishPackages(plan: RunPlan): Promise<void> {
    if (plan.publish === undefined || !patched('2026-11-26-packages')) return;
    this.#enter('publishing');
    try {
      this.packages = await call(
        long.publishPackages,
        `publishes ${plan.publish.join(', ')}`,
        { run: plan.run, plan },
        onMachine(plan, publishTimeoutMs),
      );
    } catch (error) {
      // What had left before it went wrong stays where it is, and the record of the run has to say so.
      const { published } = describeFailure(error).details as { readonly published?: readonly PublishedPackage[] };
      this.packages = published ?? [];
      throw error;
    }
  }

  async pushImages(plan: RunPlan, stages: readonly StageReport[]): Promise<void> {
    if (plan.buildImages !== 'push' || plan.images.length === 0) return;
    this.#enter('pushing');
    this.images = await call(
      long.pushImages,
      `pushes ${plan.images.join(', ')}`,
      { run: plan.run, plan, images: this.images, stages, ...this.published() },
      onMachine(plan, plan.buildTimeoutMs),
    );
  }

  /** As activities are told of it: left out where there is nothing, as it always was. */
  published(): { readonly packages?: readonly PublishedPackage[] } {
    return this.packages.length === 0 ? {} : { packages: this.packages };
  }
}
