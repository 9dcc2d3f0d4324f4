import { validRange } from 'semver';
import { z } from 'zod';
import { ImageCache } from './kinds/builds.ts';
import { Gates } from './kinds/gate.ts';
import { RepositoryInfrastructure } from './kinds/infrastructure.ts';
import { RepositoryPackage } from './kinds/packages.ts';
import { Probe } from './kinds/probe.ts';
import { Reports } from './kinds/report.ts';
import { Parameters } from './parameters.ts';
import {
  Duration,
  InnerPath,
  Name,
  Pattern,
  Port,
  Ratio,
  Size,
  UrlPath,
  VariableName,
  Variables,
  quoted,
  mustBe,
} from './scalars.ts';
import {
  Argv,
  Artifact,
  Cache,
  GroupWhen,
  ImageMatrix,
  ImageReference,
  Matrix,
  OutputName,
  Retry,
  StageService,
  Starts,
  StepImage,
  StepResources,
  When,
} from './stages.ts';

const Step = z
  .strictObject({
    name: Name.describe('Unique within its stage.'),
    run: Argv.describe('Command and arguments, started without a shell. Either this or `shell`.').exactOptional(),
    shell: z
      .string({ error: mustBe('a text: one line of shell, or several after `|`') })
      .min(1, { error: 'must not be empty' })
      .describe('Script for `/bin/sh`, ended by the first command that fails. Either this or `run`.')
      .exactOptional(),
    image: StepImage.describe(
      'Image that the step runs in; `{NAME}` in it is a value of the matrix. Default: that of the document, then that of the project.',
    ).exactOptional(),
    executor: z
      .enum(['container', 'host'])
      .describe('Where it runs. `host` only where the project allows it. Default: what the project says.')
      .exactOptional(),
    env: Variables.describe('Settings of this step, over those of the document.').default({}),
    secrets: z
      .array(VariableName)
      .describe('Secrets of the project that this step gets, each as the variable of its name.')
      .default([]),
    timeout: Duration.describe("Longest time it may take. Default: the stage's.").exactOptional(),
    stallAfter: Duration.describe('Longest time it may say nothing. Judgement.').prefault('5m'),
    onFailure: z
      .enum(['fail', 'warn'])
      .describe('`warn`: a failure is reported and the stage goes on.')
      .default('fail'),
    resume: z
      .boolean()
      .describe(
        'After the worker died: the stage may go on at this step in the same files, instead of from a clean checkout.',
      )
      .default(false),
    once: z
      .boolean()
      .describe('Never started a second time: when it was interrupted, a person is asked.')
      .default(false),
    workdir: InnerPath.describe('Folder it runs in, from the root of the repository.').default('.'),
    when: When.describe('When it runs. Default: whenever its stage does and nothing in it failed before.').prefault({}),
    retry: Retry.describe('A failure is tried again. Default: once is enough.').exactOptional(),
    outputs: z
      .array(OutputName)
      .max(20)
      .describe(
        'Values that it hands on: it writes `NAME=value` lines to the file `$SLIPWAY_OUTPUT`, and later steps of the stage, and of the stages that come after it, have them as variables.',
      )
      .default([]),
    network: z
      .enum(['bridge', 'none'])
      .describe(
        'Network of its container; `none` is stricter than the project asks for. Default: what the project says.',
      )
      .exactOptional(),
    resources: StepResources.describe('Limits of its container, within those of the project.').prefault({}),
    reports: Reports,
  })
  // For editors; the rule with the better sentence is in rules.ts.
  .meta({ oneOf: [{ required: ['run'] }, { required: ['shell'] }] });

const Stage = z
  .strictObject({
    name: Name.describe('Unique; shown wherever the run is.'),
    timeout: Duration.describe(
      'Hard limit. Default: twice the upper nominal time of a stage of that name (`install` 10m, `quality` 14m, `security` 10m), otherwise 20m.',
    ).exactOptional(),
    steps: z
      .array(Step)
      .min(1, { error: 'must have at least one step' })
      .max(200, { error: 'must have at most 200 steps' })
      .describe('One after the other, or at once with `parallel`. Either these or `starts`.')
      .default([]),
    starts: Starts.describe('Starts a run of another project instead of running steps.').exactOptional(),
    needs: z
      .array(Name)
      .max(50)
      .describe(
        'Stages that must have ended before; with `[]` it starts at once. Stages that do not need each other run beside each other. Default: every stage above it.',
      )
      .exactOptional(),
    when: When.describe('When it runs. Default: whenever everything before it passed.').prefault({}),
    parallel: z
      .boolean()
      .describe(
        'Its steps run at once, those with `when: { outcome: failure }` or `always` after them. As many as the project allows.',
      )
      .default(false),
    failFast: z
      .boolean()
      .describe('Its failure, and that of a step of it, ends what runs beside it. `false`: that is let finish.')
      .default(true),
    matrix: Matrix.describe('Makes a stage of it for each combination of values.').exactOptional(),
    services: z
      .record(Name, StageService)
      .refine((services) => Object.keys(services).length <= 10, { error: 'must have at most 10 services' })
      .describe('Containers beside its steps, on a network that only this stage has.')
      .default({}),
    caches: z.array(Cache).max(20).describe('Files kept from run to run.').default([]),
    artifacts: z.array(Artifact).max(20).describe('Files kept for people.').default([]),
    reports: Reports,
  })
  // For editors; the rule with the better sentence is in stage-rules.ts.
  .meta({ oneOf: [{ required: ['steps'] }, { required: ['starts'] }] });

const Image = z.strictObject({
  name: Name.describe('Unique; the last part of its name in the registry.'),
  group: Name.describe(
    'Images that are wanted together, such as `services` or `monitoring`. Default: none, built whenever images are.',
  ).exactOptional(),
  matrix: ImageMatrix.describe('Makes an image of it for each combination of values.').exactOptional(),
  context: InnerPath.describe('Folder that is sent to the build.').default('.'),
  dockerfile: InnerPath.describe('From the context.').default('Dockerfile'),
  target: z
    .string()
    .regex(/^[\w.-]+$/)
    .describe('Stage of the Dockerfile to build. Default: the last.')
    .exactOptional(),
  args: Variables.describe('Build arguments. They can be read from the image: never a secret.').default({}),
  platforms: z
    .array(z.string().regex(/^[a-z0-9]+\/[a-z0-9]+(?:\/[a-z0-9]+)?$/, { error: 'must look like `linux/amd64`' }))
    .max(10, { error: 'must name at most 10 platforms' })
    .refine((platforms) => new Set(platforms).size === platforms.length, { error: 'names a platform twice' })
    .describe(
      "Platforms it is built for; several make one image with a list of them, and need `builds.builder` of the project to be a BuildKit daemon. Default: the builder's own.",
    )
    .default([]),
  cache: ImageCache.describe(
    'Layers kept in a registry, in the repositories that the project offers (`builds.caches`). Needs BuildKit; `export` to a place, a BuildKit daemon. Default: those of the image that was built before.',
  ).exactOptional(),
  secrets: z
    .array(VariableName)
    .max(20)
    .describe(
      'Secrets of the project (`builds.secrets`) that `RUN --mount=type=secret,id=NAME` may read. They are in no layer. Needs BuildKit.',
    )
    .default([]),
  ssh: z
    .union([z.boolean(), z.array(Name).min(1).max(10)], { error: mustBe('true, false, or names of `builds.ssh`') })
    .describe(
      'What `RUN --mount=type=ssh` may use: `true`, the key of the project (`builds.sshKey`); names, those of `builds.ssh`, each by its `id`. Needs BuildKit.',
    )
    .default(false),
  network: z
    .enum(['default', 'none'])
    .describe(
      'Network of the RUN instructions; `none` is stricter than the project asks for. Default: what the project says.',
    )
    .exactOptional(),
});

const ImageGroup = z.strictObject({
  when: GroupWhen.describe('When its images are built. Default: whenever images are.').exactOptional(),
  concurrency: z
    .number()
    .int()
    .min(1)
    .max(32)
    .describe('Images of it that are built at once. Default: what the project allows for all.')
    .exactOptional(),
});

const Service = z.strictObject({
  image: Name.describe('Name of one of the images.'),
  port: Port.describe('Port that it listens on inside the container.'),
  command: Argv.describe("Command instead of the image's own.").exactOptional(),
  env: Variables.describe(
    'Settings that hold in every environment; the file of the environment and the project go over them.',
  ).default({}),
  health: z
    .strictObject({
      path: UrlPath.describe('Answers 200, and no redirect, as soon as the release can serve.').default('/health'),
      command: Argv.describe(
        "Run inside the container as its health check, instead of the image's own.",
      ).exactOptional(),
      interval: Duration.describe('Between two checks. Judgement.').prefault('2s'),
      timeout: Duration.describe('Of one check. Judgement.').prefault('3s'),
      retries: z.number().int().min(1).max(100).describe('Failures in a row until it is unhealthy.').default(3),
    })
    .describe('When a release is ready for traffic, and stays so.')
    .prefault({}),
  resources: z
    .strictObject({
      cpus: z.number().positive().max(1024).describe('Cores; 0.5 is half of one. Default: no limit.').exactOptional(),
      memory: Size.describe('Default: no limit.').exactOptional(),
    })
    .describe('Limits of the container.')
    .prefault({}),
  stopGrace: Duration.describe(
    'From SIGTERM to SIGKILL. Never more than the limit of the environment.',
  ).exactOptional(),
});

/** Defaults: what the specification asks for before anything is installed (S0-220): 4 cores, 8 GB of memory, 100 GB of free disk. */
const Machine = z.strictObject({
  cores: z.number().positive().max(1024).describe('Cores that the worker may use.').default(4),
  memory: Size.describe('Memory that the worker may use, taken or not.').prefault('8G'),
  disk: Size.describe('Free on the disk where the checkout lies.').prefault('100G'),
});

/** `slipway.yaml`, in the deployed repository: how it is checked, built, migrated and probed. */
export const RepositoryDefinition = z
  .strictObject({
    version: z.literal(1, { error: mustBe('1, the only version there is') }).describe('Version of this format: 1.'),
    tools: z
      .record(
        z.string().regex(/^[a-zA-Z0-9][\w.+-]*$/, { error: 'must be the name of a command' }),
        z
          .string({ error: mustBe('a range of versions in quotes, such as `">=20.10"`') })
          .refine((range) => validRange(range) !== null, {
            error: (issue) => `${quoted(issue.input)} is no range of versions; write \`">=20.10"\``,
          }),
      )
      .describe('Tools that the worker must have, with the versions that will do. Checked before the first stage.')
      .default({}),
    machine: Machine.describe(
      'What the machine of a run should have. One with less is warned about when the run is prepared; nothing fails for it.',
    ).prefault({}),
    image: ImageReference.describe('Image for steps that name none.').exactOptional(),
    env: Variables.describe('Settings of every step.').default({}),
    parameters: Parameters.describe(
      'What a run by hand may be given, by name, and what it is otherwise. Default: none declared, and any text is taken.',
    ).default({}),
    stages: z
      .array(Stage)
      .max(50, { error: 'must have at most 50 stages' })
      .describe(
        'The checks, one stage after the other unless they say what they need; the first that fails ends the run.',
      )
      .default([]),
    gates: Gates.exactOptional(),
    images: z.array(Image).max(50, { error: 'must have at most 50 images' }).describe('Built at once.').default([]),
    imageGroups: z
      .record(Name, ImageGroup)
      .describe(
        'Conditions and limits of groups of images. Which of them are built is also said by the route (`imageGroups` in the project).',
      )
      .exactOptional(),
    packages: z
      .array(RepositoryPackage)
      .max(20, { error: 'must have at most 20 packages' })
      .describe(
        'What is published when every check has passed and every image is built, where the route of the run says so. Never by pull requests and runs by schedule.',
      )
      .default([]),
    service: Service.describe(
      'What runs when the release is live. Needed where the project deploys anywhere.',
    ).exactOptional(),
    configuration: z
      .strictObject({
        required: z.array(VariableName).describe('Settings without which no environment is deployed.').default([]),
      })
      .describe('What `.env.<environment>` and the project must give.')
      .prefault({}),
    infrastructure: RepositoryInfrastructure.describe(
      'What must be there before the release: planned with it, shown in its approval, and applied after it. Only where the environment of the project has `infrastructure` too.',
    ).exactOptional(),
    migrations: z
      .strictObject({
        folder: InnerPath.describe('Holds `001_name.sql`, and `001_name.down.sql` where it can be undone.').default(
          'migrations',
        ),
        phase: z
          .enum(['before-switch', 'after-start', 'after-switch'])
          .describe('When they run; the project may say otherwise. Default: `before-switch` with blue-green.')
          .exactOptional(),
      })
      .describe('Changes of the database that come with a release.')
      .exactOptional(),
    probes: z
      .array(Probe)
      .max(50, { error: 'must have at most 50 probes' })
      .describe(
        'Checks of a deployed release, beside the two that every release has: `container`, and `health` at its health path. One of those names can only make it stricter: fewer tries, shorter pauses, or more that the answer must have.',
      )
      .default([]),
    watch: z
      .strictObject({
        duration: Duration.describe('At least this long.').exactOptional(),
        warn: z
          .strictObject({
            cpu: Ratio.describe('Share of the CPU limit.').exactOptional(),
            memory: Ratio.describe('Share of the memory limit.').exactOptional(),
            p95: Duration.describe('95th percentile of answer times.').exactOptional(),
            errors: Ratio.describe('Share of answers with status 500 and above.').exactOptional(),
          })
          .describe('Figures beyond which somebody is told.')
          .prefault({}),
        rollback: z
          .strictObject({
            errors: Ratio.describe('Share of answers with status 500 and above.').exactOptional(),
            p95: Duration.describe('95th percentile of answer times.').exactOptional(),
            databaseFailures: z
              .number()
              .int()
              .min(1)
              .describe('Failed checks of the database in a row.')
              .exactOptional(),
          })
          .describe('Figures beyond which the release is rolled back.')
          .prefault({}),
        logPatterns: z
          .array(Pattern)
          .max(20)
          .describe(
            'Critical log lines, beside those of the project: regular expressions of RE2, as they are written in Go. The first 4,096 characters of a line count.',
          )
          .default([]),
      })
      .describe('Makes the watch of the project stricter; a figure that would make it looser is refused.')
      .prefault({}),
  })
  .describe(
    'How a repository is checked, built, migrated and probed. It lies in the repository, at the commit being run.',
  );

export type RepositoryDefinition = z.output<typeof RepositoryDefinition>;
