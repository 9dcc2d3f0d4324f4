import { z } from 'zod';
import type { ApprovalState } from '../domain/approval.ts';
import type { BuildReport } from '../domain/build-report.ts';
import type { DeploymentInput, DeploymentResult, StepRecord } from '../domain/deployment.ts';
import { outcomes } from '../domain/outcome.ts';
import { type Plan, planNamePattern } from '../domain/plan.ts';
import type { LiveRelease } from '../domain/release.ts';
import { packageKinds } from '../domain/packages.ts';
import type { ImageReport, RunInput, RunPlan } from '../domain/run.ts';
import type { Page } from '../store/page.ts';
import type { StoredRelease } from '../store/releases.ts';
import { roles } from '../store/tokens.ts';
import type { EnvironmentView } from '../workflows/messages.ts';

/** Names as they stand in addresses and ids. */
export const Name = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,62}$/i, 'is no name');
export const PositiveNumber = z.coerce.number().int().positive();
const Instant = z.string().describe('ISO 8601, UTC.');
const Version = z.string().min(1).max(128);
const Verdict = z.enum(['passed', 'inconclusive', 'errored', 'failed']);
export const Outcome = z.enum(outcomes);
export const RunOutcome = z.enum(['succeeded', 'failed', 'errored', 'rejected', 'expired', 'aborted', 'superseded']);
export const Reason = z.string().trim().min(1).max(2_000);

export const ProjectPath = z.object({ project: Name });
export const RunPath = z.object({ project: Name, number: PositiveNumber });
export const EnvironmentPath = z.object({ project: Name, environment: Name });
export const DeploymentPath = z.object({ project: Name, environment: Name, number: PositiveNumber });

/** What every list understands. */
export const Paging = z.object({
  limit: z.coerce.number().int().min(1).max(200).optional().describe('Default 50.'),
  cursor: z.string().max(200).optional().describe('`next` of the page before.'),
});
export const Flag = z.enum(['true', 'false']).transform((text) => text === 'true');

/** A page of a list in its document form. */
export function pageOf<S extends z.ZodType>(item: S): z.ZodType<Page<z.output<S>>> {
  return z.object({
    items: z.array(item).readonly(),
    next: z.string().exactOptional().describe('Absent on the last page.'),
  });
}

/** Says what a document of the domain holds without saying all of it again: the fields named are those that people look for first. */
function shaped<T>(id: string, shape: z.ZodRawShape): z.ZodType<T> {
  return z.looseObject(shape).meta({ id }) as unknown as z.ZodType<T>;
}

export const DeploymentRefSchema = z.object({
  project: z.string(),
  environment: z.string(),
  number: z.number().int(),
});

const RunPhase = z.enum([
  'accepted',
  'awaiting-word',
  'preparing',
  'queued',
  'checking',
  'building',
  'publishing',
  'pushing',
  'settling',
  'closed',
]);

export const RunSummarySchema = z.object({
  project: z.string(),
  number: z.number().int(),
  key: z.string(),
  kind: z.enum(['push', 'tag', 'pull-request', 'manual', 'schedule']),
  ref: z.string(),
  commit: z.string(),
  author: z.string(),
  message: z.string().nullable(),
  phase: RunPhase,
  version: z.string().nullable(),
  outcome: RunOutcome.nullable(),
  reason: z.string().nullable(),
  acceptedAt: Instant,
  startedAt: Instant.nullable(),
  settledAt: Instant.nullable(),
  queue: z
    .object({
      since: Instant,
      until: Instant.describe('Then it ends `expired`.'),
      position: z.number().int().describe('How many runs come before it; 0 when its turn has come this moment.'),
      waitsFor: z.number().int().nullable().describe('Number of the run that has the turn, or is to have it first.'),
    })
    .nullable()
    .describe('Where it stands while it waits for the turn of its ref.'),
});

const StepSchema = z.object({
  name: z.string(),
  verdict: Verdict.nullable(),
  exitCode: z.number().int().nullable(),
  detail: z.string().nullable(),
  startedAt: Instant,
  durationMs: z.number().nullable(),
});

export const StageSchema = z.object({
  name: z.string(),
  verdict: Verdict.nullable().describe('Null while it runs.'),
  detail: z.string().nullable(),
  startedAt: Instant,
  durationMs: z.number().nullable(),
  steps: z.array(StepSchema).readonly(),
});

const PublishedPackageSchema = z
  .object({
    package: z.string().describe('What slipway.yaml calls it.'),
    file: z.string(),
    kind: z.enum(packageKinds),
    index: z.string().describe('What project.yaml calls it.'),
    name: z.string(),
    version: z.string(),
    sha256: z.string(),
    sizeBytes: z.number().int(),
    address: z.string().describe('Where the index shows it.'),
    alreadyThere: z.boolean().describe('The index had the very same file before.'),
    at: Instant,
  })
  .meta({ id: 'PublishedPackage' });

const DocumentationSchema = z.object({
  stage: z.string(),
  name: z.string().describe('Of the artifact.'),
  address: z.string().describe('Path of its first page.'),
});

export const RunSchema = RunSummarySchema.extend({
  input: shaped<RunInput>('RunRequest', { project: z.string(), key: z.string() }),
  plan: shaped<RunPlan>('RunPlan', {
    version: z.string(),
    environments: z.array(z.string()),
    warnings: z.array(z.string()).optional().describe('What the machine of the checkout has too little of.'),
  }).nullable(),
  definition: z.string().nullable(),
  stages: z.array(StageSchema).readonly(),
  images: z.array(shaped<ImageReport>('Image', { name: z.string(), digest: z.string() })).readonly(),
  packages: z.array(PublishedPackageSchema).readonly().describe('Files of packages that it has published.'),
  documentation: z
    .array(DocumentationSchema)
    .readonly()
    .describe('Documentation that its stages have generated, as long as it is kept.'),
  deployments: z.array(DeploymentRefSchema.extend({ outcome: Outcome.nullable() })).readonly(),
  startedBy: z
    .object({
      project: z.string(),
      number: z.number().int(),
      key: z.string(),
      stage: z.string(),
      above: z
        .array(z.object({ project: z.string(), number: z.number().int() }))
        .readonly()
        .describe('The runs that led to that one, the first one first.'),
    })
    .nullable()
    .describe('The run of another project that started it.'),
  starts: z
    .array(
      z.object({
        stage: z.string(),
        project: z.string(),
        number: z.number().int(),
        phase: RunPhase,
        outcome: RunOutcome.nullable(),
      }),
    )
    .readonly()
    .describe('Runs of other projects that its stages have started.'),
}).meta({ id: 'Run' });

export const DeploymentSummarySchema = DeploymentRefSchema.extend({
  kind: z.enum(['rollout', 'rollback']),
  version: z.string(),
  runKey: z.string().nullable(),
  requestedBy: z.string(),
  author: z.string(),
  priority: z.enum(['rollback', 'hotfix', 'routine']),
  requestedAt: Instant,
  phase: z.enum([
    'planning',
    'awaiting-approval',
    'queued',
    'preparing',
    'backing-up',
    'rolling-out',
    'migrating',
    'probing',
    'switching',
    'watching',
    'settling',
    'rolling-back',
    'closed',
  ]),
  phaseDetail: z.string().nullable(),
  phaseAt: Instant,
  planHash: z.string().nullable(),
  outcome: Outcome.nullable(),
  reason: z.string().nullable(),
  settledAt: Instant.nullable(),
});

export const EvidenceFileSchema = z
  .object({
    image: z.string(),
    file: z
      .string()
      .describe('`sbom.spdx.json`, `sbom.cdx.json`, `scan.json`, `scan-again.json` or `provenance.json`.'),
    sizeBytes: z.number().int(),
    address: z.string().describe('Path of this API.'),
  })
  .meta({ id: 'EvidenceFile' });

export const BuildReportSchema = shaped<BuildReport>('BuildReport', {
  project: z.string(),
  run: z.number().int(),
  outcome: RunOutcome.nullable(),
  tests: z.looseObject({ total: z.number(), failed: z.number() }).nullable(),
  coverage: z.object({ lines: z.number(), before: z.number().nullable() }).nullable(),
  trend: z.object({
    ref: z.string(),
    steps: z
      .array(z.looseObject({ run: z.number().int(), coverage: z.number().nullable(), tests: z.number().nullable() }))
      .readonly()
      .describe('The run and finished ones before it, newest first, each with its `change` against the one before.'),
  }),
  gates: z
    .array(z.looseObject({ gate: z.string(), stage: z.string(), verdict: Verdict, blocks: z.boolean() }))
    .readonly(),
  evidence: z.array(EvidenceFileSchema).readonly(),
});

export const PlanSchema = shaped<Plan>('Plan', {
  hash: z.string().describe('What a decision names: all of it, or its first 8 characters.'),
  plannedAt: Instant,
});
export const ApprovalSchema = shaped<ApprovalState>('Approval', {
  planHash: z.string(),
  status: z.enum(['pending', 'approved', 'rejected', 'expired']),
});

export const DecisionSchema = z.object({
  by: z.string(),
  verdict: z.enum(['approve', 'reject']),
  counted: z.boolean(),
  why: z.string().nullable().describe('Why it did not count.'),
  plan: z.string(),
  comment: z.string().nullable(),
  proven: z
    .boolean()
    .describe('The API proves it. False for raw signals and updates, and for a proof that does not hold.'),
  at: Instant,
});

export const DeploymentSchema = DeploymentSummarySchema.extend({
  input: shaped<DeploymentInput>('DeploymentRequest', { project: z.string(), version: z.string() }),
  plan: PlanSchema.nullable(),
  approval: ApprovalSchema.nullable().describe('Null when it was not asked for yet, or is long over.'),
  approvalUntil: Instant.nullable(),
  steps: z
    .array(
      shaped<StepRecord & { readonly key: string }>('DeploymentStep', {
        key: z.string(),
        name: z.string(),
        verdict: Verdict,
      }),
    )
    .readonly(),
  decisions: z.array(DecisionSchema).readonly(),
  result: shaped<DeploymentResult>('DeploymentResult', { outcome: Outcome, reason: z.string() }).nullable(),
}).meta({ id: 'Deployment' });

export const LiveSchema = shaped<LiveRelease>('LiveRelease', { version: z.string(), deployment: z.number().int() });
export const EnvironmentSchema = shaped<EnvironmentView>('Environment', {
  project: z.string(),
  environment: z.string(),
  live: LiveSchema.nullable(),
  previous: LiveSchema.nullable(),
  previousStopped: z.boolean().optional(),
  scan: z
    .object({ verdict: z.string(), summary: z.string(), at: z.string(), lines: z.array(z.string()).readonly() })
    .nullish(),
});

export const ReleaseSchema = shaped<StoredRelease>('Release', {
  project: z.string(),
  version: z.string(),
  build: z.number().int(),
  commit: z.string(),
});

export const IncidentSchema = DeploymentRefSchema.extend({
  id: z.string(),
  trigger: z.string(),
  summary: z.string(),
  openedAt: Instant,
  postMortemDueAt: Instant,
  closedAt: Instant.nullable(),
}).meta({ id: 'Incident' });

export const LogSchema = z
  .object({
    log: z.string().describe('Its name, and its address below /v1/logs/.'),
    project: z.string(),
    run: z.number().int().nullable(),
    environment: z.string().nullable(),
    number: z.number().int().nullable(),
    stage: z.string(),
    step: z.string(),
    attempt: z.number().int(),
    openedAt: Instant,
    closedAt: Instant.nullable(),
    blob: z.string().nullable(),
    sizeBytes: z.number().int(),
  })
  .meta({ id: 'Log' });

/** Which logs of a run or deployment. */
export const LogQuery = z.object({
  step: z.string().max(200).optional().describe('Only of this stage or step, as `test`, `unit` or `test/unit`.'),
  q: z.string().min(1).max(200).optional().describe('Only logs that contain this, exactly as it is written.'),
});

export const FoundLogSchema = LogSchema.extend({
  matches: z
    .array(
      z.object({
        line: z.number().int().describe('From 1.'),
        at: Instant.nullable().describe('When it was written, to the second.'),
        text: z.string().describe('Cut after 500 characters.'),
      }),
    )
    .readonly()
    .optional()
    .describe('Only where a text was looked for: at most 100 lines of each log, and 1,000 in all.'),
}).meta({ id: 'FoundLog' });

export const TokenSchema = z
  .object({
    id: z.string(),
    name: z.string(),
    role: z.enum(roles),
    groups: z.array(z.string()).readonly(),
    createdAt: Instant,
    createdBy: z.string(),
    expiresAt: Instant.nullable(),
    revokedAt: Instant.nullable(),
  })
  .meta({ id: 'Token' });

/** Bodies of commands. */
export const DecisionBody = z.strictObject({
  plan: z
    .string()
    .regex(planNamePattern, 'must be the hash of the plan, or at least its first 8 characters')
    .transform((hash) => hash.toLowerCase()),
  comment: z.string().max(2_000).optional(),
});
export const AbortBody = z
  .strictObject({
    reason: Reason.optional(),
    noRollback: z
      .boolean()
      .optional()
      .describe('Leaves a half-done change as it is; the environment is held until somebody says what is true.'),
  })
  .nullish();
export const AllowBody = z.strictObject({
  commit: z
    .string()
    .regex(/^[0-9a-f]{8,40}$/i, 'must be the commit that was looked at, or at least its first 8 digits')
    .transform((commit) => commit.toLowerCase()),
});
export const ReasonBody = z.strictObject({ reason: Reason });
export const RollbackBody = z.strictObject({
  reason: Reason,
  to: Version.optional().describe('Version to go back to; the previous one when absent.'),
});
export const UnlockBody = z.strictObject({
  reason: Reason,
  stateIs: Version.describe('What is live: a version, or `none`.'),
});
export const FreezeBody = z.strictObject({
  reason: Reason,
  until: z.iso.datetime().optional().describe('Until lifted when absent.'),
});
export const DeployBody = z.strictObject({
  version: Version.describe('A recorded release; nothing is built.'),
  idempotencyKey: z.string().min(1).max(200).optional(),
});
export const RunBody = z.strictObject({
  ref: z
    .string()
    .regex(/^refs\/(heads|tags)\/[^\s~^:?*[\\]+$/, 'must be a full ref such as refs/heads/main')
    .max(1024),
  commit: z
    .string()
    .regex(/^[0-9a-f]{40}$/i, 'must be a commit: 40 hexadecimal digits')
    .optional()
    .describe('Default: what the ref points at now.'),
  release: Version.optional().describe('Deploys the recorded release of this version instead of building.'),
  idempotencyKey: z.string().min(1).max(200).optional().describe('As the header Idempotency-Key.'),
  parameters: z
    .record(
      z.string().regex(/^[A-Za-z][A-Za-z0-9_-]{0,39}$/),
      z
        .string()
        .max(1_000)
        .regex(/^[^\0]*$/, 'must have no zero byte'),
    )
    .refine((parameters) => Object.keys(parameters).length <= 50, 'must be at most 50')
    .optional()
    .describe('What conditions of stages and steps ask for. Never a secret.'),
});
