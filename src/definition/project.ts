import { z } from 'zod';
import { Builder, buildOffers } from './kinds/builds.ts';
import { CoverageUpload } from './kinds/coverage.ts';
import { Environment } from './kinds/environment.ts';
import { Schedule, TimeZone } from './kinds/schedule.ts';
import { StartRule } from './kinds/start-rule.ts';
import { Upkeep } from './kinds/upkeep.ts';
import { FindingsTold } from './kinds/findings.ts';
import { Forge } from './kinds/forge.ts';
import { Gates } from './kinds/gate.ts';
import { Images } from './kinds/images.ts';
import { Notifier } from './kinds/notifier.ts';
import { PackageIndex } from './kinds/packages.ts';
import { Probe } from './kinds/probe.ts';
import { Protection } from './kinds/protection.ts';
import { ImageReference, When } from './stages.ts';
import { RefGlob, Duration, InnerPath, Name, Secret, Secrets, Size, Variables, sensitive, mustBe } from './scalars.ts';

const PathGlob = z
  .string({ error: mustBe('a pattern such as `services/api/**`') })
  .min(1)
  .max(200)
  .refine((pattern) => !pattern.startsWith('/') && !pattern.startsWith('./'), {
    error: 'must be relative to the root of the repository, without `./`',
  })
  .refine((pattern) => pattern.split('{').length <= 4, { error: 'has more than three `{…}`; write several patterns' })
  .refine((pattern) => pattern.split('**/').length <= 4, { error: 'has more than three `**/`' });

const Credentials = z.strictObject({
  username: z.string().min(1).describe('Name to log in with.'),
  password: Secret.describe('Its password or token.'),
});

const RunMode = z.enum(['parallel', 'supersede', 'queue']);

/** One row of the routing table, as people write it. */
export const Route = z.strictObject({
  on: z
    .enum(['push', 'tag', 'pull-request', 'manual'])
    .describe(
      'What happened. A run started by hand goes the way of a push of its branch or tag, unless a route for `manual` comes first.',
    ),
  ref: RefGlob.describe(
    'Branch, tag, or `pull/<number>/head`. `*` is anything but `/`, `**` anything, `?` one character, `{a,b}` either.',
  ).default('**'),
  environments: z
    .array(Name)
    .describe(
      'Deployed to, in this order: each waits until the one before it has succeeded. Never by a pull request from a fork. Default: none, checks only.',
    )
    .default([]),
  buildImages: z
    .enum(['none', 'validate', 'build', 'push'])
    .describe(
      '`validate`: built and thrown away; `build`: kept on the worker; `push`: pushed and verified (of a pull request from a fork: `build`). Default: `push` where it leads to an environment, otherwise `none`.',
    )
    .exactOptional(),
  imageGroups: z
    .array(Name)
    .max(50)
    .describe('Groups of images that are built; those without a group always are. Default: every group.')
    .exactOptional(),
  publish: z
    .array(Name)
    .max(20)
    .describe('Names of the `packageIndexes` that packages of the repository are published to. Default: none.')
    .exactOptional(),
  when: When.pick({ parameter: true })
    .required()
    .describe(
      'Only when the run was asked for with these parameters; the next route is looked at otherwise. Declared by the repository, whose defaults count too, also those of a push.',
    )
    .exactOptional(),
  into: RefGlob.describe('For pull requests: the branch they go into. Default: any.').exactOptional(),
  paths: z
    .array(PathGlob)
    .min(1)
    .max(100)
    .describe(
      'Only when a changed path matches one of these; the next route is looked at otherwise. `**/` is also no folder at all. A new branch, a tag and a run by hand count as changing everything.',
    )
    .exactOptional(),
  ignorePaths: z.array(PathGlob).min(1).max(100).describe('Paths that count as no change: `**/*.md`.').exactOptional(),
  priority: z.enum(['routine', 'hotfix']).describe('A hotfix goes before the rest in the queue.').default('routine'),
  runs: RunMode.describe(
    'What a run of it does about those of the same ref that still go on, in place of `runs.mode` of the project.',
  ).exactOptional(),
  emergency: z
    .boolean()
    .describe('Environments that are not production are not watched beyond their probes. Approvals stay.')
    .default(false),
});

const time = z.string().regex(/^(?:[01]\d|2[0-3]):[0-5]\d$/, { error: 'must be a time such as `09:00`' });

/** `project.yaml`, held by the engine: where a repository may go, who decides, and what it can only make stricter. */
export const ProjectDefinition = z
  .strictObject({
    version: z.literal(1, { error: mustBe('1, the only version there is') }).describe('Version of this format: 1.'),
    project: Name.describe('Its name in addresses, ids and names of containers; never changed.'),
    repository: z
      .strictObject({
        url: z
          .string({ error: mustBe('the address of a repository') })
          // The value may hold a password, so it is not repeated.
          .regex(/^(?:https?:\/\/|ssh:\/\/|file:\/\/|[\w.-]+@[\w.-]+:)[^\s]+$/, {
            error: (issue) =>
              sensitive(issue, 'must be an address such as `https://…`, `ssh://…`, `git@host:path` or `file:///…`'),
          })
          .refine((url) => !/^https?:\/\/[^/]*@/.test(url), {
            error: (issue) => sensitive(issue, 'must not hold a name or password; put them under `credentials`'),
          })
          .describe('Where it is fetched from.'),
        credentials: Credentials.describe('Default: none, or what the worker has for ssh.').exactOptional(),
        forge: Forge.describe('Where its events come from.'),
        poll: z
          .boolean()
          .describe(
            'Looks for new commits every 5 minutes too, for a forge whose webhooks do not get here. What a webhook brought is not run again.',
          )
          .default(false),
        definition: InnerPath.describe('Path of its document in the repository.').default('slipway.yaml'),
        releaseBranch: z.string().min(1).describe('Only images of this branch are tagged `latest`.').default('main'),
        protection: Protection,
        findings: FindingsTold,
        coverage: CoverageUpload,
      })
      .describe('What is deployed.'),
    registry: z
      .strictObject({
        address: z
          .string()
          .regex(/^[a-z0-9.-]+(?::\d{1,5})?$/, { error: 'must be `host` or `host:port`, without `https://`' })
          .describe('`host:port`, as in the name of an image.'),
        prefix: z
          .string()
          .regex(/^[a-z0-9]+(?:[._/-][a-z0-9]+)*$/, { error: 'must be a path in small letters, such as `team`' })
          .describe('Between the address and the name of the image. Default: the name of the project.')
          .exactOptional(),
        credentials: Credentials.describe('Name and password. Default: none.').exactOptional(),
        credentialHelper: z
          .string()
          .regex(/^[a-z0-9][a-z0-9-]*$/, { error: 'must be the name behind `docker-credential-`, such as `ecr-login`' })
          .describe('Instead of `credentials`: asks the program `docker-credential-<name>` of the worker.')
          .exactOptional(),
        ecr: z
          .strictObject({
            region: z
              .string()
              .regex(/^[a-z]{2}(?:-[a-z]+)+-\d$/, { error: 'must be a region such as `eu-central-1`' })
              .describe('Region of AWS.'),
            accessKey: z
              .strictObject({ id: Secret.describe('Id of the key.'), secret: Secret.describe('The key.') })
              .describe('Default: what the worker has for AWS.')
              .exactOptional(),
          })
          .describe(
            'Instead of `credentials`: asks AWS for a token, by `aws ecr get-login-password` on the worker, and again before it ends.',
          )
          .exactOptional(),
        insecure: z.boolean().describe('Plain HTTP. Only for a registry on this machine.').default(false),
      })
      .describe('Where images are pushed to and run from.'),
    packageIndexes: z
      .record(Name, PackageIndex)
      .describe('Where packages may be published, by the name that repository and routes know it by.')
      .default({}),
    routes: z
      .array(Route)
      .max(200)
      .describe(
        'What leads where: the first that matches. Default: `main` and tags `v*.*.*` to production, `hotfix/**` to staging and then production before the rest, `develop` and `release/**` to staging, `feature/**` checks and a validating build, pull requests and every other branch checks.',
      )
      .exactOptional(),
    runs: z
      .strictObject({
        mode: RunMode.describe(
          '`parallel`: each goes its own way. `queue`: one after the other, in the order in which they were accepted. `supersede`: the same, but a new one ends those before it that are `supersede` too; they end `superseded`. Runs by schedule, and those of other projects that only check, are always `parallel`.',
        ).default('parallel'),
        timeout: Duration.describe('Longest wait for the turn; then the run ends `expired`.').prefault('24h'),
      })
      .describe('What a run does about those of the same ref that still go on. A route may say otherwise.')
      .prefault({}),
    environments: z.record(Name, Environment).describe('By name.').default({}),
    steps: z
      .strictObject({
        executor: z
          .enum(['container', 'host'])
          .describe(
            '`container`: steps run in containers, nothing else is allowed. `host`: they run on the worker, for a repository that is trusted with it; a step may still ask for a container.',
          )
          .default('container'),
        image: ImageReference.describe('Image for steps where the repository names none.').exactOptional(),
        network: z.enum(['bridge', 'none']).describe('Network of the containers of steps.').default('bridge'),
        resources: z
          .strictObject({
            cpus: z
              .number()
              .positive()
              .max(1024)
              .describe(
                'Cores. Default: all, with a quarter of the weight of other containers where the processor is contended.',
              )
              .exactOptional(),
            memory: Size.describe(
              'Memory of one container; a program that takes more is killed (status 137). Judgement: half of what a machine should have.',
            ).prefault('4Gi'),
            temporary: Size.describe(
              'Of each of `/tmp` and `/var/tmp` of a step, which lie in its memory and count as that. Never more than its memory. Half of that by default, as Linux has it (tmpfs(5)).',
            ).prefault('2Gi'),
          })
          .describe('Limits of the containers of steps and of the services beside them; a step can ask for less.')
          .prefault({}),
        secrets: Secrets.describe('What a step may ask for by name. Never given to pull requests from forks.').default(
          {},
        ),
        env: Variables.describe('Settings of every step; the repository cannot change them.').default({}),
        concurrency: z
          .number()
          .int()
          .min(1)
          .max(64)
          .describe('Stages of a run, and steps of a stage, that run at once where they may. Judgement.')
          .default(4),
        caches: z
          .strictObject({
            size: Size.describe(
              'Of all caches of the project; the one that was not used for longest goes first. Judgement.',
            ).prefault('10Gi'),
            largest: Size.describe('Of one cache, packed; a larger one is not kept. Judgement.').prefault('2Gi'),
          })
          .describe('Files that stages keep from run to run.')
          .prefault({}),
        artifacts: z
          .strictObject({
            size: Size.describe(
              'Of one artifact; of a larger one nothing is kept, and its stage is errored. Judgement.',
            ).prefault('2Gi'),
            longest: Duration.describe('Kept at most this long, whatever the repository says.').prefault('90d'),
          })
          .describe('Files that stages leave for people.')
          .prefault({}),
      })
      .describe('Where and with what the repository may run its steps.')
      .prefault({}),
    builds: z
      .strictObject({
        network: z
          .enum(['default', 'none'])
          .describe('Network of the RUN instructions; the repository may ask for `none`, never for more.')
          .default('default'),
        timeout: Duration.describe('For building and pushing all images: twice the upper nominal times.').prefault(
          '40m',
        ),
        concurrency: z.number().int().min(1).max(32).describe('Images built at once. Judgement.').default(3),
        args: Variables.describe('Build arguments, over those of the repository.').default({}),
        ...buildOffers,
        builder: Builder.describe("Default: the worker's own engine.").prefault({ kind: 'docker' }),
      })
      .describe('How images are built.')
      .prefault({}),
    images: Images.describe('What images are called, what must be known of them, and who signs them.').prefault({}),
    gates: Gates.describe(
      'Floors of the gates: the repository can make each stricter, never looser. A gate that is named and has no report is errored.',
    ).exactOptional(),
    suppressions: z
      .enum(['project', 'repository'])
      .describe('Who may put findings aside: this document only, or the repository too.')
      .default('project'),
    migrations: z
      .strictObject({
        runner: z
          .enum(['sql', 'none'])
          .describe('`sql`: numbered files, each once. `none`: the repository may have no migrations.')
          .default('sql'),
      })
      .describe('What may change a database.')
      .prefault({}),
    probes: z
      .array(Probe)
      .max(50)
      .describe(
        'Every release must pass these too; the repository cannot change them. One named `container` or `health` takes the place of the one that every release has.',
      )
      .default([]),
    notifications: z
      .array(Notifier)
      .max(50)
      .describe('Where notices go.')
      .default([{ kind: 'log', level: 'info', events: [], environments: [] }]),
    schedules: z
      .array(Schedule)
      .max(50)
      .describe('Runs that nobody asks for. They are checks only: no image is built and nothing is deployed.')
      .default([]),
    pullRequests: z
      .strictObject({
        forks: z
          .enum(['ask', 'allow', 'deny'])
          .describe(
            'Those from forks. `ask`: nothing of a commit is fetched or run before an approver has allowed that very commit (`slipway allow`); the next commit is asked for anew. `allow`: they are run as they come. `deny`: never. In every case in containers only, without secrets, and to no environment.',
          )
          .default('ask'),
        timeout: Duration.describe('Longest wait for that word; the run ends `expired` then. Judgement.').prefault(
          '7d',
        ),
      })
      .describe('Whose code is run for asking.')
      .prefault({}),
    startedBy: z
      .array(StartRule)
      .max(50)
      .describe(
        'Projects whose pipelines may start runs of this one (`starts` of a stage); the first that fits decides. Default: none may.',
      )
      .default([]),
    upkeep: Upkeep,
    calendar: z
      .strictObject({
        timeZone: TimeZone.describe('Of the people who would have to repair a release.').default('UTC'),
        workingHours: z
          .strictObject({
            from: time.describe('When people come.').default('09:00'),
            to: time.describe('When they go.').default('18:00'),
          })
          .describe('Outside of them, at weekends and on Friday from 13:00 a release is riskier.')
          .prefault({}),
      })
      .describe('For the risk shown in a plan.')
      .prefault({}),
    retention: z
      .strictObject({
        runs: z
          .number()
          .int()
          .min(1)
          .describe('Runs whose logs and images are kept. Records are kept for ever.')
          .default(30),
        registry: z
          .enum(['keep', 'remove'])
          .describe(
            '`remove`: images that no kept run, release or backup names go from the registry too, with their signatures; it must allow deletion. Default: `keep`.',
          )
          .exactOptional(),
        backups: z.number().int().min(1).describe('Backups kept of each environment.').default(14),
        damagedDatabases: Duration.describe('How long a database that was put aside by a rollback is kept.').prefault(
          '14d',
        ),
      })
      .describe('What is removed, and when. Nothing that a live, previous or last good release needs.')
      .prefault({}),
  })
  .describe(
    'Where a repository may go, who decides, and what it can only make stricter. Held by the engine, not by the repository.',
  );

export type ProjectDefinition = z.output<typeof ProjectDefinition>;
export type EnvironmentDefinition = ProjectDefinition['environments'][string];
