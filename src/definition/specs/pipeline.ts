/**
 * What activities and providers are given is in this folder: the two documents resolved against each other, defaults filled in, floors applied,
 * durations in ms and sizes in bytes. How a person writes them is in `repository.ts` and `project.ts`. Here: what CI does with one commit.
 */
import type { GatePolicy } from '../../domain/gate.ts';
import type { MachineWants } from '../../domain/machine.ts';
import type { AllowedPackage, PackageKind } from '../../domain/packages.ts';
import type { BuildsSpec, ImageSpec, OtherImage, RegistrySpec } from './image.ts';
import type { Credentials, SecretRef } from './secret.ts';
import type { StageSpec } from './stage.ts';
import type { SupplyChainSpec } from './supply-chain.ts';

/** What one commit goes through before anything is deployed. */
export interface PipelineSpec {
  readonly tools: readonly ToolRequirement[];
  /** Less is warned about when the run is prepared. */
  readonly machine: MachineWants;
  /** What a stage needs comes before it. */
  readonly stages: readonly StageSpec[];
  /** Stages that run at once. */
  readonly concurrency: number;
  readonly images: readonly ImageSpec[];
  /** Images of the document that this run does not build. */
  readonly otherImages: readonly OtherImage[];
  readonly builds: BuildsSpec;
  readonly registry: RegistrySpec;
  /** Every package of the document; which of them are published is said by the plan. */
  readonly packages: readonly PackageSpec[];
  /** What the reports of a run must show; absent means no gate. */
  readonly gates?: readonly GatePolicy[];
  readonly supplyChain: SupplyChainSpec;
}

/** A package of the repository, and where the project lets it go. */
export interface PackageSpec {
  readonly name: string;
  /** Globs, from the checkout. */
  readonly files: readonly string[];
  readonly index: PackageIndexSpec;
}

export interface PackageIndexSpec {
  /** What the project calls it. */
  readonly name: string;
  readonly kind: PackageKind;
  /** What is uploaded to, as it was written. */
  readonly url: string;
  /** Where an index of Python is asked what it holds. */
  readonly simple?: string;
  /** Of packages with a scope, at a registry of npm. */
  readonly access: 'public' | 'restricted';
  readonly token?: SecretRef;
  readonly credentials?: Credentials;
  readonly allow: readonly AllowedPackage[];
  readonly largestBytes: number;
}

/** A tool that the worker must have, checked when the run is prepared. */
export interface ToolRequirement {
  /** The command, as on PATH. */
  readonly name: string;
  /** Semantic version range, such as `>=20.10`. */
  readonly range: string;
}
