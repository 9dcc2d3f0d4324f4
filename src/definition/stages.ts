/** What a stage and its steps are made of beside commands: conditions, matrix, tries, services, caches and artifacts. */
import { z } from 'zod';
import { Duration, Name, Port, Size, VariableName, Variables, mustBe, quoted } from './scalars.ts';

/** An image's name, in a form that cannot be taken for an option of a command. */
export const ImageReference = z.string({ error: mustBe('the name of an image') }).regex(/^[a-zA-Z0-9][\w./:@-]*$/, {
  error: (issue) =>
    `${quoted(issue.input)} is no name of an image; write \`node:24-slim\` or \`registry:5000/team/tools:3\``,
});

/** As {@link ImageReference}, with `{NAME}` for a value of the matrix. */
export const StepImage = z
  .string({ error: mustBe('the name of an image') })
  .regex(/^(?:[a-zA-Z0-9]|\{[A-Z_][A-Z0-9_]*\})(?:[\w./:@-]|\{[A-Z_][A-Z0-9_]*\})*$/, {
    error: (issue) =>
      `${quoted(issue.input)} is no name of an image; write \`node:24-slim\`, or \`python:{PYTHON}\` with a value of the matrix`,
  });

export const Argv = z
  .array(z.union([z.string(), z.number()], { error: mustBe('a text or a number') }).transform(String), {
    error: mustBe('a list: the command and its arguments, each on its own; for one line of shell use `shell`'),
  })
  .min(1, { error: 'must name at least the command' });

/** How often a part that multiplies the work of matching may stand in one glob. Judgement. */
const mostParts = 3;

/** Which files, as a pattern. Repositories write them, so they are kept short and cheap. */
export const Glob = z
  .string({ error: mustBe('a pattern of paths such as `src/**`') })
  .min(1, { error: 'must not be empty' })
  .max(200, { error: 'is longer than the 200 characters a pattern of paths may have' })
  .refine((glob) => !glob.startsWith('/') && !glob.includes('\\') && !glob.includes('\0'), {
    error: 'must be relative to the root of the repository, with `/` between its parts',
  })
  .refine((glob) => !glob.split('/').includes('..'), { error: 'must not leave the repository with `..`' })
  .refine((glob) => glob.split('{').length - 1 <= mostParts && glob.split('**/').length - 1 <= mostParts, {
    error: `has more than ${mostParts} choices (\`{a,b}\`) or folders left open (\`**/\`); write several patterns`,
  })
  .meta({ title: 'pattern of paths' });

const RefPattern = z
  .string({ error: mustBe('a pattern of branches such as `release/*`') })
  .min(1, { error: 'must not be empty' })
  .max(200, { error: 'is longer than the 200 characters a pattern may have' })
  .refine((pattern) => pattern.split('{').length - 1 <= mostParts, {
    error: `has more than ${mostParts} choices (\`{a,b}\`); write several patterns`,
  });

const Scalar = z
  .union([z.string(), z.number(), z.boolean()], { error: mustBe('a text, a number, or true or false') })
  .transform(String);

/** Names of what a person gives to a run that is started by hand. */
export const ParameterName = z.string().regex(/^[A-Za-z][A-Za-z0-9_-]{0,39}$/, {
  error: (issue) =>
    `${quoted(issue.input)} is no name of a parameter; use letters, digits, \`_\` and \`-\`, a letter first`,
});

/** When a stage or step runs. A closed vocabulary: nothing in it is ever evaluated. */
export const When = z.strictObject({
  branch: z
    .array(RefPattern)
    .min(1, { error: 'must name at least one branch' })
    .max(50)
    .describe('Only on these branches: `*` anything but `/`, `**` anything. Tags and pull requests are on none.')
    .exactOptional(),
  event: z
    .array(z.enum(['push', 'tag', 'pull-request', 'manual', 'schedule']))
    .min(1, { error: 'must name at least one kind of event' })
    .describe(
      'Only for these kinds of event. `manual`: a person, or another project, has started it; `schedule`: one of the schedules of `project.yaml` has.',
    )
    .exactOptional(),
  path: z
    .array(Glob)
    .min(1, { error: 'must name at least one pattern' })
    .max(50)
    .describe(
      'Only when a file that one of these matches differs from the commit before the event. It runs too where that cannot be told: a new branch, a tag, a run by hand or by schedule.',
    )
    .exactOptional(),
  parameter: z
    .record(ParameterName, z.array(Scalar).min(1, { error: 'must name at least one value' }).max(50))
    .describe('Only when each of these parameters of the run has one of the values named.')
    .exactOptional(),
  outcome: z
    .enum(['success', 'failure', 'always'])
    .describe(
      '`success`: nothing before it failed. `failure`: something did. `always`: in both cases, also after an abort of the run where it is a stage.',
    )
    .default('success'),
});

/** A branch by its name, or a branch or tag by its full ref; never anything that could be taken for an option of a command. */
const StartRef = z
  .string({ error: mustBe('a branch, or a full ref such as `refs/tags/v1.2.0`') })
  .max(200)
  .regex(/^(?:refs\/(?:heads|tags)\/)?(?!refs\/)[^\s~^:?*[\\-][^\s~^:?*[\\]*$/, {
    error: (issue) => `${quoted(issue.input)} is no branch, and no full ref such as \`refs/tags/v1.2.0\``,
  });

/** A run of another project that a stage starts. */
export const Starts = z.strictObject({
  project: Name.describe('Whose pipeline is run. Its own document must say under `startedBy` that this project may.'),
  ref: StartRef.describe(
    'Branch whose newest commit is run, or a full ref (`refs/tags/v1.2.0`). Default: the release branch of that project.',
  ).exactOptional(),
  parameters: z
    .record(ParameterName, Scalar.pipe(z.string().max(1_000, { error: 'must have at most 1,000 characters' })))
    .refine((parameters) => Object.keys(parameters).length <= 50, { error: 'must be at most 50' })
    .describe(
      'What it is given, checked against what that commit declares. `{NAME}` is a value of the matrix, `{SLIPWAY_VERSION}`, `{SLIPWAY_COMMIT}`, `{SLIPWAY_REF}`, `{SLIPWAY_RUN}`, or `{SLIPWAY_PARAMETER_<NAME>}`, as steps have them.',
    )
    .default({}),
  wait: z
    .boolean()
    .describe(
      'The stage ends with that run and by its outcome, at the latest after its `timeout` (1h where it names none); whoever ends the stage ends that run. `false`: as soon as it has begun.',
    )
    .default(true),
});

const Combination = z.record(VariableName, Scalar);

/** A stage for each combination of values. */
export const Matrix = z.strictObject({
  values: z
    .record(VariableName, z.array(Scalar).min(1, { error: 'must have at least one value' }).max(64))
    .describe('Each combination of these is a stage of its own; its steps get the values as variables.')
    .default({}),
  include: z.array(Combination).max(64).describe('Further combinations, as they are.').default([]),
  exclude: z
    .array(Combination)
    .max(64)
    .describe('Combinations to leave out: those with all of these values.')
    .default([]),
  maxParallel: z
    .number()
    .int()
    .min(1)
    .max(64)
    .describe('Combinations that run at once. Default: what the project allows.')
    .exactOptional(),
});

/** An image for each combination of values. */
export const ImageMatrix = Matrix.omit({ maxParallel: true }).extend({
  values: z
    .record(VariableName, z.array(Scalar).min(1, { error: 'must have at least one value' }).max(64))
    .describe(
      'Each combination of these is an image of its own, called by its values; the build gets them as arguments. `{NAME}` in an argument is one of them.',
    )
    .default({}),
});

/** When a group of images is built: there is no outcome to ask for, for images come after every check has passed. */
export const GroupWhen = When.omit({ outcome: true });

/** How often a step that failed is tried. */
export const Retry = z.strictObject({
  attempts: z.number().int().min(2).max(10).describe('Tries in all.').default(3),
  backoff: Duration.describe('Before the second try; twice as long before each further one, never above 5m.').prefault(
    '5s',
  ),
  on: z
    .array(z.number().int().min(1).max(255))
    .min(1, { error: 'must name at least one status' })
    .describe('Only after these exit codes. Default: after any, and when its time was over.')
    .exactOptional(),
});

/** A container that runs beside the steps of a stage. */
export const StageService = z.strictObject({
  image: ImageReference.describe('Image it runs, such as `redis:7-alpine`.'),
  port: Port.describe('Port that it listens on; steps find it as `SERVICE_<NAME>_HOST` and `SERVICE_<NAME>_PORT`.'),
  command: Argv.describe("Command instead of the image's own.").exactOptional(),
  env: Variables.describe('Its settings. Never a secret: whatever runs beside it can reach it anyway.').default({}),
  health: z
    .strictObject({
      command: Argv.describe('Run inside the container; it is ready as soon as this ends with 0: `[redis-cli, ping]`.'),
      interval: Duration.describe('Between two checks. Judgement.').prefault('1s'),
      timeout: Duration.describe('Of one check. Judgement.').prefault('3s'),
      startup: Duration.describe('Longest time until it is ready; then the stage is errored.').prefault('60s'),
    })
    .describe('No step starts before every service has passed its check.'),
});

/** A cached path: inside the checkout, or below HOME. */
const CachePath = z
  .string({ error: mustBe('a path') })
  .min(1, { error: 'must not be empty' })
  .refine(
    (path) =>
      !path.includes('\0') &&
      !path.includes('\\') &&
      !path.startsWith('/') &&
      !path.split('/').includes('..') &&
      path !== '~' &&
      path !== '.',
    { error: 'must be a path in the repository such as `node_modules`, or below HOME such as `~/.cache/pip`' },
  )
  .meta({ title: 'path in the repository or below `~/`' });

/** Files that are kept from run to run. */
export const Cache = z.strictObject({
  name: Name.describe('Unique within its stage; stages that name the same cache share it.'),
  paths: z
    .array(CachePath)
    .min(1, { error: 'must name at least one path' })
    .max(20)
    .describe('What is kept: paths in the repository, or below HOME as `~/…`.'),
  key: z
    .array(Glob)
    .min(1, { error: 'must name at least one file' })
    .max(20)
    .describe('Files by whose content it is found again: lock files, requirements.'),
  fallback: z
    .boolean()
    .describe('Where there is none for exactly these files, take the newest of the same name.')
    .default(false),
});

/** Files that a stage leaves for people. */
export const Artifact = z.strictObject({
  name: Name.describe('Unique within its stage.'),
  kind: z
    .enum(['files', 'documentation'])
    .describe('`documentation`: one folder of pages that begin with `index.html`; they are shown too, in a sandbox.')
    .default('files'),
  paths: z
    .array(Glob)
    .min(1, { error: 'must name at least one pattern' })
    .max(50)
    .describe(
      'Which files of the checkout, or the folder of the documentation; `{NAME}` is a value of the matrix. Links are never followed.',
    ),
  retention: Duration.describe('How long it is kept.').prefault('30d'),
  when: z
    .enum(['success', 'failure', 'always'])
    .describe('After which verdict of the stage it is kept.')
    .default('always'),
});

/** Names of outputs that would change how later steps run, rather than what they know. */
const reserved =
  /^(?:PATH|HOME|CI|IFS|ENV|BASH_ENV|NODE_OPTIONS|PYTHON(?:PATH|STARTUP)|PERL5OPT|RUBYOPT|LD_.*|SLIPWAY.*|SERVICE_.*)$/;

/** Name of something that a step hands on. */
export const OutputName = VariableName.refine((name) => !reserved.test(name), {
  error: (issue) => `${quoted(issue.input)} would change how later steps run; give it another name`,
});
/** Limits of the container of a step. */
export const StepResources = z.strictObject({
  cpus: z
    .number()
    .positive()
    .max(1024)
    .describe("Cores; 0.5 is half of one. Never more than the project's.")
    .exactOptional(),
  memory: Size.describe("Never more than the project's.").exactOptional(),
});

/** Most combinations of one matrix, and most stages of a run with all combinations. Judgement. */
export const mostCombinations = 64;
export const mostStages = 200;
