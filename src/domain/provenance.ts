import { type PublishedPackage, packageUrl } from './packages.ts';
import type { ImageReport, RunPlan, StageReport } from './run.ts';
import type { ScanVerdict } from './image-scan.ts';

/**
 * What Slipway really did for one image, as SLSA provenance v1 has it.
 *
 * @see https://slsa.dev/spec/v1.0/provenance
 */
export interface Provenance {
  readonly buildDefinition: {
    readonly buildType: typeof buildType;
    /** What came from outside: the event and the commit. */
    readonly externalParameters: {
      readonly project: string;
      readonly repository: string;
      readonly ref: string;
      readonly commit: string;
      readonly image: string;
    };
    /** What the engine held against it. */
    readonly internalParameters: {
      /** SHA-256 of the parsed slipway.yaml and project.yaml. */
      readonly definition: string;
      readonly run: number;
      readonly version: string;
      readonly buildKey?: string;
      /** Every step that was to run, with the digest of the image it ran in. */
      readonly steps: readonly ProvenanceStep[];
    };
    readonly resolvedDependencies: readonly ResourceDescriptor[];
  };
  readonly runDetails: {
    readonly builder: { readonly id: string; readonly version: Readonly<Record<string, string>> };
    /** Files of packages that the run has published, beside the image. */
    readonly byproducts?: readonly ResourceDescriptor[];
    readonly metadata: { readonly invocationId: string; readonly startedOn: string; readonly finishedOn: string };
    /** How it went. A field of ours, as the specification asks such to be named. */
    readonly slipway_verdicts: readonly ProvenanceVerdict[];
    /** Equal inputs had given the image before; it was taken, not built. */
    readonly slipway_reused: boolean;
  };
}

export interface ProvenanceStep {
  readonly stage: string;
  readonly name: string;
  /** `host`, or the image by digest where the engine knows one. */
  readonly executor: string;
  readonly digest?: string;
}

export interface ProvenanceVerdict {
  /** `stage › step`, `stage › gate name`, or `scan`. */
  readonly name: string;
  readonly verdict: string;
  readonly startedOn: string;
  readonly durationMs: number;
}

export interface ResourceDescriptor {
  readonly name?: string;
  readonly uri: string;
  readonly digest: Readonly<Record<string, string>>;
}

/** An in-toto statement, as much of it as is looked at. */
export interface Statement {
  readonly subject: readonly { readonly name?: string; readonly digest?: Readonly<Record<string, string>> }[];
  readonly predicateType: string;
  readonly predicate: unknown;
}

export const buildType = 'https://slipway.dev/build/v1';
export const provenanceType = 'https://slsa.dev/provenance/v1';

export interface ProvenanceInput {
  readonly plan: RunPlan;
  readonly ref: string;
  /** Without a password. */
  readonly repository: string;
  readonly image: ImageReport;
  readonly stages: readonly StageReport[];
  readonly steps: readonly ProvenanceStep[];
  readonly builder: { readonly id: string; readonly version: string };
  readonly scan?: ScanVerdict;
  readonly packages: readonly PublishedPackage[];
  readonly finishedAt: string;
}

/** Puts together what is known of a build. Nothing is invented: what is not known is not there. */
export function makeProvenance(input: ProvenanceInput): Provenance {
  const { plan, image, stages, builder, scan, packages } = input;
  const { run, commit } = plan;
  const verdicts = [
    ...stages.flatMap(({ name, steps, gates = [], startedAt, durationMs }) => [
      ...steps.map((step) => ({
        name: `${name} › ${step.name}`,
        verdict: step.verdict,
        startedOn: step.startedAt,
        durationMs: step.durationMs,
      })),
      ...gates.map(({ gate, verdict }) => ({
        name: `${name} › gate ${gate}`,
        verdict,
        startedOn: startedAt,
        durationMs,
      })),
    ]),
    ...(scan === undefined ? [] : [{ name: 'scan', verdict: scan.verdict, startedOn: scan.scannedAt, durationMs: 0 }]),
    ...(scan === undefined || image.evidence?.gate === undefined
      ? []
      : [
          {
            name: `scan › gate ${image.evidence.gate.gate}`,
            verdict: image.evidence.gate.verdict,
            startedOn: scan.scannedAt,
            durationMs: 0,
          },
        ]),
  ];
  const { licences } = image.evidence ?? {};
  if (licences !== undefined) {
    const { gate, verdict } = licences;
    verdicts.push({ name: `scan › gate ${gate} of licences`, verdict, startedOn: input.finishedAt, durationMs: 0 });
  }
  const startedOn = stages[0]?.startedAt ?? input.finishedAt;
  return {
    buildDefinition: {
      buildType,
      externalParameters: {
        project: run.project,
        repository: input.repository,
        ref: input.ref,
        commit: commit.sha,
        image: image.name,
      },
      internalParameters: {
        definition: plan.definition,
        run: run.number,
        version: plan.version,
        ...(image.evidence?.buildKey === undefined ? {} : { buildKey: image.evidence.buildKey }),
        steps: input.steps,
      },
      resolvedDependencies: [
        { uri: `git+${input.repository}@${input.ref}`, digest: { gitCommit: commit.sha } },
        ...Object.entries(image.evidence?.bases ?? {}).map(([uri, digest]) => ({
          uri: `oci://${uri}`,
          digest: digestSet(digest),
        })),
      ],
    },
    runDetails: {
      builder: { id: builder.id, version: { slipway: builder.version } },
      ...(packages.length === 0
        ? {}
        : {
            byproducts: packages.map((one) => ({
              name: one.file,
              uri: packageUrl(one),
              digest: { sha256: one.sha256 },
            })),
          }),
      metadata: { invocationId: `run/${run.project}/${run.key}`, startedOn, finishedOn: input.finishedAt },
      slipway_verdicts: verdicts,
      slipway_reused: image.reused,
    },
  };
}

function digestSet(digest: string): Readonly<Record<string, string>> {
  const [algorithm, value] = digest.split(':', 2);
  return { [algorithm ?? 'sha256']: value ?? '' };
}

/** What the provenance of a deployed image must say. */
export interface ExpectedProvenance {
  readonly project: string;
  /** `sha256:…` of the manifest that will run. */
  readonly digest: string;
  readonly commit: string;
  readonly definition: string;
  readonly builder: string;
}

/**
 * Looks whether a statement whose signature was verified is about this image and this release.
 *
 * @returns the first thing that is wrong, as it reads after "it"; undefined when nothing is.
 */
export function provenanceProblem(statement: Statement, expected: ExpectedProvenance): string | undefined {
  if (statement.predicateType !== provenanceType) return `is a ${statement.predicateType}, not SLSA provenance`;
  const wanted = expected.digest.replace(/^sha256:/, '');
  if (!statement.subject.some(({ digest }) => digest?.['sha256'] === wanted)) {
    return `is about ${statement.subject.map(({ digest }) => `sha256:${digest?.['sha256'] ?? '?'}`).join(', ') || 'nothing'}, not about ${expected.digest}`;
  }
  const predicate = readPredicate(statement);
  const definition = predicate.buildDefinition;
  const builder = predicate.runDetails?.builder?.id;
  if (definition?.buildType !== buildType) return 'does not tell of a build by Slipway';
  if (builder !== expected.builder) return `names the builder ${text(builder)}, not ${expected.builder}`;
  const { project, commit } = definition.externalParameters ?? {};
  if (project !== expected.project) return `is of the project ${text(project)}, not of ${expected.project}`;
  if (commit !== expected.commit) return `is of the commit ${text(commit)}, not of ${expected.commit}`;
  const hash = definition.internalParameters?.definition;
  if (hash !== expected.definition) {
    return `was made by the definition ${text(hash).slice(0, 12)}, not by ${expected.definition.slice(0, 12)}`;
  }
  return undefined;
}

/** Which run a statement tells of; undefined where it is of somebody else. */
export function invocationOf(statement: Statement): string | undefined {
  return readPredicate(statement).runDetails?.metadata?.invocationId;
}

/** The run of Slipway that a statement tells of; undefined where it tells of something else. */
export function runOf(statement: Statement): { readonly project: string; readonly number: number } | undefined {
  const { buildDefinition } = readPredicate(statement);
  const project: unknown = buildDefinition?.externalParameters?.project;
  const number: unknown = buildDefinition?.internalParameters?.run;
  if (buildDefinition?.buildType !== buildType || typeof project !== 'string' || typeof number !== 'number') return;
  return { project, number };
}

/** A trusted key may have signed what somebody else's program wrote: nothing of its form is taken for granted. */
function readPredicate({ predicate }: Statement): DeepPartial<Provenance> {
  return typeof predicate === 'object' && predicate !== null ? predicate : {};
}

type DeepPartial<T> = T extends object ? { readonly [K in keyof T]?: DeepPartial<T[K]> } : T;

function text(value: unknown): string {
  return typeof value === 'string' ? value : 'nothing';
}
