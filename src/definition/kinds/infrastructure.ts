import { z } from 'zod';
import { Argv } from '../stages.ts';
import { Duration, InnerPath, Secret, Secrets, Variables, quoted } from '../scalars.ts';

const scalar = z.union([z.string(), z.number(), z.boolean()]);
const VariableName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_-]{0,99}$/, {
  error: (issue) => `${quoted(issue.input)} is no name of a variable of the tool`,
});
const InfrastructureVariables = z.record(
  VariableName,
  z.union([scalar, z.array(scalar), z.record(z.string(), scalar)]),
);

/** In `slipway.yaml`: where the definition is. */
export const RepositoryInfrastructure = z.strictObject({
  folder: InnerPath.describe('Its folder; for Terraform the root module.').default('infrastructure'),
  variables: InfrastructureVariables.describe('Variables in every environment; the project goes over them.').default(
    {},
  ),
});

const shared = {
  executor: z
    .literal('host', { error: 'must be `host`: the tool runs on the worker, with what the worker may do' })
    .describe(
      'The only place there is, said here so that whoever writes it knows: whoever can push to a branch that leads here can run what the worker may, by data sources and provisioners.',
    ),
  variables: InfrastructureVariables.describe('Variables here, over those of the repository.').default({}),
  secretVariables: z
    .record(VariableName, Secret)
    .describe('Variables whose values are secrets. Declare them `sensitive` in the definition.')
    .default({}),
  env: Variables.describe('Settings of the tool, such as `AWS_REGION`.').default({}),
  secrets: Secrets.describe('The same of secrets, such as `AWS_SECRET_ACCESS_KEY`.').default({}),
  planKey: Secret.describe(
    'Encrypts the saved plan while it waits for its approval: a plan holds the values of secrets. Any long text; a plan that is not applied yet is lost when it changes.',
  ),
  lockTimeout: Duration.refine((ms) => ms <= 600_000, { error: 'must be at most 10m' })
    .describe('How long a lock of the state that somebody else holds is waited for. At most 10m. Judgement.')
    .prefault('2m'),
  timeout: Duration.refine((ms) => ms <= 3_300_000, { error: 'must be at most 55m' })
    .describe('Of a plan, and of applying it. At most 55m. Judgement.')
    .prefault('30m'),
};

const backends = [
  ...['s3', 'gcs', 'azurerm', 'http', 'pg', 'consul', 'kubernetes', 'oss', 'cos', 'oci', 'local'],
] as const;
const backendScalar = z.union([z.string(), z.number(), z.boolean()]);

const Backend = z
  .strictObject({
    kind: z.enum(backends as unknown as [string, ...string[]]).describe('As Terraform names it.'),
    config: z
      .record(z.string().regex(/^[a-z][a-z0-9_]*$/), z.union([backendScalar, z.record(z.string(), backendScalar)]))
      .describe('Its settings. Keys and passwords go into `secrets`, by the variables that the backend reads.')
      .default({}),
  })
  .describe('Where the state is. Goes over whatever the repository says.');

const terraform = (kind: 'terraform' | 'opentofu', program: string) =>
  z
    .strictObject({
      kind: z.literal(kind).describe(`\`${program}\` on the worker, 1.5 or later.`),
      backend: Backend,
      ...shared,
    })
    .meta({ title: kind });

/** In an environment of `project.yaml`: what plans and applies it, and with which rights. */
export const EnvironmentInfrastructure = z.discriminatedUnion('kind', [
  terraform('terraform', 'terraform'),
  terraform('opentofu', 'tofu'),
  z
    .strictObject({
      kind: z.literal('exec').describe('Commands, for CloudFormation by change sets and every other tool.'),
      plan: Argv.describe(
        'Writes what `apply` needs to the file `$SLIPWAY_PLAN`, and `[{"address": "…", "action": "create"}]` (or update, replace, destroy, forget) to `$SLIPWAY_CHANGES`. Variables are in the file `$SLIPWAY_VARIABLES`.',
      ),
      apply: Argv.describe('Applies `$SLIPWAY_PLAN` and nothing else; exit code 3: it is stale.'),
      state: Argv.describe('Prints what tells two states apart, such as the id of the last change.'),
      discard: Argv.describe(
        'Removes what plans of `$SLIPWAY_DEPLOYMENT` have left anywhere else, such as a change set, when the deployment has ended without applying them. May run twice. Default: there is nothing.',
      ).optional(),
      ...shared,
    })
    .meta({ title: 'exec' }),
]);
export type EnvironmentInfrastructure = z.output<typeof EnvironmentInfrastructure>;
