import { z } from 'zod';
import { CoverageUpload } from './kinds/coverage.ts';
import { Database } from './kinds/database.ts';
import { FindingsTold } from './kinds/findings.ts';
import { Forge } from './kinds/forge.ts';
import { Gates } from './kinds/gate.ts';
import { EnvironmentImages, Images } from './kinds/images.ts';
import { EnvironmentInfrastructure } from './kinds/infrastructure.ts';
import { Notifier } from './kinds/notifier.ts';
import { Probe } from './kinds/probe.ts';
import { Protection } from './kinds/protection.ts';
import { Router } from './kinds/router.ts';
import { Target } from './kinds/target.ts';
import { ParameterName } from './parameters.ts';
import { ImageReference } from './stages.ts';
import {
  Duration,
  InnerPath,
  Name,
  Pattern,
  Ratio,
  Secret,
  Secrets,
  Size,
  Variables,
  quoted,
  sensitive,
  mustBe,
} from './scalars.ts';

const Glob = z
  .string({ error: mustBe('a pattern such as `main` or `feature/**`') })
  .min(1)
  .max(200)
  .regex(/^[^\s~^:\\[\]]+$/, { error: (issue) => `${quoted(issue.input)} cannot match a branch or tag` })
  .refine((pattern) => pattern.split('{').length <= 4, { error: 'has more than three `{…}`; write several routes' });

const PathGlob = z
  .string({ error: mustBe('a pattern such as `services/api/**`') })
  .min(1)
  .max(200)
  .refine((pattern) => !pattern.startsWith('/') && !pattern.startsWith('./'), {
    error: 'must be relative to the root of the repository, without `./`',
  })
  .refine((pattern) => pattern.split('{').length <= 4, { error: 'has more than three `{…}`; write several patterns' })
  .refine((pattern) => pattern.split('**/').length <= 4, { error: 'has more than three `**/`' });

const TimeZone = z.string().refine(isTimeZone, {
  error: (issue) => `${quoted(issue.input)} is no time zone; write \`Europe/Berlin\` or \`UTC\``,
});

const Credentials = z.strictObject({
  username: z.string().min(1).describe('Name to log in with.'),
  password: Secret.describe('Its password or token.'),
});

/** One row of the routing table, as people write it. */
export const Route = z.strictObject({
  on: z
    .enum(['push', 'tag', 'pull-request', 'manual'])
    .describe(
      'What happened. A run started by hand goes the way of a push of its branch or tag, unless a route for `manual` comes first.',
    ),
  ref: Glob.describe(
    'Branch, tag, or `pull/<number>/head`. `*` is anything but `/`, `**` anything, `?` one character, `{a,b}` either.',
  ).default('**'),
  environments: z
    .array(Name)
    .describe(
      'Deployed to, in this order: each waits until the one before it has succeeded. Default: none, checks only.',
    )
    .default([]),
  buildImages: z
    .enum(['none', 'validate', 'build', 'push'])
    .describe(
      '`validate`: built and thrown away; `build`: kept on the worker; `push`: pushed and verified. Default: `push` where it leads to an environment, otherwise `none`.',
    )
    .exactOptional(),
  imageGroups: z
    .array(Name)
    .max(50)
    .describe('Groups of images that are built; those without a group always are. Default: every group.')
    .exactOptional(),
  into: Glob.describe('For pull requests: the branch they go into. Default: any.').exactOptional(),
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
  emergency: z
    .boolean()
    .describe('Environments that are not production are not watched beyond their probes. Approvals stay.')
    .default(false),
});

const Approval = z.strictObject({
  required: z.boolean().describe('Default: true in production, otherwise false.').exactOptional(),
  rules: z
    .array(
      z.strictObject({
        group: Name.describe('Group of the people who may decide.'),
        count: z.number().int().min(1).max(20).describe('How many of them.').default(1),
      }),
    )
    .describe('All of them must be met, by people distinct from each other. One rejection ends it.')
    .default([
      { group: 'tech-lead', count: 1 },
      { group: 'devops', count: 1 },
    ]),
  allowAuthor: z
    .boolean()
    .describe(
      'Whether the author of the change may approve it, and whoever pushed it, started its run or asked for it.',
    )
    .default(false),
  timeout: Duration.describe('From the moment the plan is recorded until it expires.').prefault('30m'),
  turn: z
    .enum(['release', 'hold'])
    .describe('While waiting: `release` lets others deploy and plans again, `hold` keeps the environment.')
    .default('release'),
});

const Watch = z.strictObject({
  duration: Duration.describe(
    'How long a release is watched after traffic moved. Default: 30m in production, 2m in `staging`, otherwise 0s.',
  ).exactOptional(),
  interval: Duration.describe('Between two readings.').prefault('10s'),
  warn: z
    .strictObject({
      cpu: Ratio.describe('Share of the CPU limit.').prefault('80%'),
      memory: Ratio.describe('Share of the memory limit.').prefault('85%'),
      p95: Duration.describe('95th percentile of answer times.').prefault('2s'),
      errors: Ratio.describe('Share of answers with status 500 and above.').prefault('1%'),
    })
    .describe('Crossing one is told, and never rolls back.')
    .prefault({}),
  rollback: z
    .strictObject({
      errors: Ratio.describe('Share of answers with status 500 and above, over the window.').prefault('5%'),
      errorWindow: Duration.describe('The sliding window of `errors`.').prefault('5m'),
      p95: Duration.describe('95th percentile of answer times.').prefault('5s'),
      p95Sustained: Duration.describe('How long `p95` must stay above.').prefault('1m'),
      databaseFailures: z.number().int().min(1).describe('Failed checks of the database in a row.').default(3),
      logMatches: z.number().int().min(1).describe('Critical log lines in the window.').default(1),
    })
    .describe('Crossing one fails the release.')
    .prefault({}),
  logPatterns: z
    .array(Pattern)
    .max(20)
    .describe('Regular expressions for critical log lines. Judgement.')
    .default(['\\b(?:CRITICAL|FATAL|PANIC)\\b']),
  minSamples: z
    .number()
    .int()
    .min(1)
    .describe('Fewest requests in a window before its errors are judged: below 20 a single one is 5 %. Judgement.')
    .default(20),
  onInconclusive: z
    .enum(['succeed', 'hold'])
    .describe('What happens when no user came: the release stays, or a person is asked.')
    .default('succeed'),
});

const Environment = z.strictObject({
  production: z
    .boolean()
    .describe(
      'Approval by default, 30 minutes of watch, every rollback opens an incident. Default: true for an environment named `production`.',
    )
    .exactOptional(),
  requireStagingSuccess: z
    .enum(['off', 'warn', 'block'])
    .describe(
      'Whether the same images must have succeeded in `staging` before: `warn` shows it in the plan as a risk, `block` makes no plan. A hotfix is only warned, and that is audited. Default: `warn` in production where there is a `staging`, otherwise `off`.',
    )
    .exactOptional(),
  target: Target.describe('Where it runs.'),
  router: Router.describe('What brings traffic to it.'),
  strategy: z
    .discriminatedUnion('kind', [
      z
        .strictObject({
          kind: z.literal('blue-green').describe('The new release beside the old one, then all traffic at once.'),
        })
        .meta({ title: 'blue-green' }),
    ])
    .describe('How the live release is replaced.')
    .default({ kind: 'blue-green' }),
  database: Database.describe('Backed up before a release and put back with it. Default: none.').exactOptional(),
  infrastructure: EnvironmentInfrastructure.describe(
    'What plans and applies the infrastructure of the repository here, and with which rights. Default: nothing is applied.',
  ).exactOptional(),
  approval: Approval.describe('Who must agree.').prefault({}),
  queue: z
    .strictObject({
      mode: z
        .enum(['keep-all', 'supersede'])
        .describe('`supersede`: the newest waits, older ones end `superseded`.')
        .default('keep-all'),
      timeout: Duration.describe('Longest wait for the turn.').prefault('24h'),
    })
    .describe('One release changes an environment at a time; this is how the others wait.')
    .prefault({}),
  watch: Watch.describe('After traffic has moved.').prefault({}),
  backup: z
    .strictObject({
      database: z.boolean().describe('Default: true where there is a database.').exactOptional(),
      configuration: z.boolean().describe('Keeps what the release was configured with.').default(true),
      prove: z.boolean().describe('Restores into a scratch database and compares before going on.').default(true),
    })
    .describe('Taken before anything is changed.')
    .prefault({}),
  rollback: z
    .strictObject({
      automatic: z.boolean().describe('A failed probe or watch rolls back by itself.').default(true),
      restore: z
        .enum(['ask', 'automatic'])
        .describe(
          '`automatic`: the database is put back although writes made since the backup leave it (they are exported). `ask`: only when nothing was written.',
        )
        .default('ask'),
    })
    .describe('What a failed release costs.')
    .prefault({}),
  limits: z
    .strictObject({
      ready: Duration.describe('A started release must be healthy within.').prefault('30s'),
      settle: Duration.describe('Waits before the first probe counts; ends early once healthy.').prefault('30s'),
      stopGrace: Duration.describe('From SIGTERM to SIGKILL.').prefault('30s'),
      drain: Duration.describe('Longest wait for the sessions of a slot to end before it is stopped.').prefault('30s'),
      keepPrevious: Duration.describe('How long the previous release stays beside the live one.').prefault('24h'),
    })
    .describe('How long the pieces of a replacement may take.')
    .prefault({}),
  migrations: z
    .strictObject({
      phase: z
        .enum(['before-switch', 'after-start', 'after-switch'])
        .describe('When migrations run. Default: what the repository says, then `before-switch` with blue-green.')
        .exactOptional(),
    })
    .describe('Changes of the database that come with a release.')
    .prefault({}),
  images: EnvironmentImages.describe('What must be known of an image before it runs here.').prefault({}),
  encryptionAtRest: z
    .boolean()
    .describe(
      'Declares that disks and databases there are encrypted; gate 5 asks for it. Default: nothing is declared.',
    )
    .exactOptional(),
  gates: Gates.describe('What this environment asks of the gates, over what the project asks.').exactOptional(),
  env: Variables.describe('Settings of the service, over those of the repository.').default({}),
  secrets: Secrets.describe('Secrets of the service, by the variable that carries them.').default({}),
});

/** Five fields of numbers, names, lists, ranges and steps. Temporal understands them, and computes them in the time zone. */
const Cron = z
  .string({ error: mustBe('a cron expression such as `0 6 * * *`') })
  .regex(
    /^(?:(?:\*|[\dA-Za-z]+(?:-[\dA-Za-z]+)?)(?:\/\d+)?(?:,(?:\*|[\dA-Za-z]+(?:-[\dA-Za-z]+)?)(?:\/\d+)?)*(?: (?=\S)|$)){5}$/,
    {
      error: (issue) =>
        `${quoted(issue.input)} is no cron expression; write minute, hour, day, month and weekday, such as \`0 6 * * *\``,
    },
  );

const Schedule = z.strictObject({
  name: Name.describe('Unique; it stands in the id of the schedule and as the author of its runs.'),
  cron: Cron.describe('When: minute, hour, day of the month, month, day of the week.'),
  timeZone: TimeZone.describe('Of `cron`. Default: that of the calendar.').exactOptional(),
  branch: z
    .string()
    .min(1)
    .max(200)
    .describe('Whose newest commit is run. Default: the release branch.')
    .exactOptional(),
  catchUp: Duration.describe(
    'How late one is still begun that Temporal was not there for; the others are left out.',
  ).prefault('1h'),
  parameters: z
    .record(ParameterName, z.union([z.string(), z.number(), z.boolean()]).transform(String))
    .describe('Of its runs.')
    .default({}),
});

/** Another project that may start runs of this one. */
const StartRule = z
  .strictObject({
    project: Name.describe('That project.'),
    from: z
      .array(Glob)
      .min(1)
      .max(20)
      .describe(
        'Only its runs of these refs: branch, tag, or `pull/<number>/head`. Never those of pull requests from forks. Default: all; with `deploys` it must be said.',
      )
      .exactOptional(),
    refs: z
      .array(Glob)
      .min(1)
      .max(20)
      .describe('Branches and tags of this project that it may have run. Default: the release branch.')
      .exactOptional(),
    deploys: z
      .boolean()
      .describe(
        'Such runs go where their route leads, with its approvals. `false`: they are checks only; no image is built and nothing is deployed.',
      )
      .default(false),
  })
  .refine(({ from, deploys }) => !deploys || from !== undefined, {
    path: ['from'],
    error:
      'say which of its refs may start runs that deploy, such as `[main]`: without it any branch nobody has looked at could',
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
    routes: z
      .array(Route)
      .max(200)
      .describe(
        'What leads where: the first that matches. Default: `main` and tags `v*.*.*` to production, `hotfix/**` to staging and then production before the rest, `develop` and `release/**` to staging, `feature/**` checks and a validating build, pull requests and every other branch checks.',
      )
      .exactOptional(),
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
            cpus: z.number().positive().max(1024).describe('Cores. Default: no limit.').exactOptional(),
            memory: Size.describe('Default: no limit.').exactOptional(),
          })
          .describe('Limits of the containers of steps.')
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
        secrets: Secrets.describe(
          'What an image may ask for by name, to be mounted into single RUN instructions. Never given to pull requests from forks.',
        ).default({}),
        sshKey: Secret.describe(
          'Private key that images with `ssh` may use in single RUN instructions. Never given to pull requests from forks.',
        ).exactOptional(),
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
      .describe('Every release must pass these too; the repository cannot change them.')
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
            'Those from forks. `ask`: nothing of a commit is fetched or run before an approver has allowed that very commit (`slipway allow`); the next commit is asked for anew. `allow`: they are run as they come. `deny`: never. In every case in containers only, and without secrets.',
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
    upkeep: z
      .strictObject({
        scan: z
          .strictObject({
            enabled: z
              .boolean()
              .describe('Whether it is done by schedule; it can be asked for at any time (`slipway scan`).')
              .default(true),
            cron: Cron.describe('When: minute, hour, day of the month, month, day of the week.').default('30 4 * * *'),
            timeZone: TimeZone.describe('Of `cron`. Default: that of the calendar.').exactOptional(),
            catchUp: Duration.describe('How late one is still begun that Temporal was not there for.').prefault('12h'),
          })
          .describe('Scans of what is live and what was before it, where `images.scan` names a scanner.')
          .prefault({}),
        bases: z
          .strictObject({
            enabled: z
              .boolean()
              .describe(
                'Whether pull requests are opened; that needs `repository.forge.api`, and credentials that may push.',
              )
              .default(false),
            cron: Cron.describe('When: minute, hour, day of the month, month, day of the week.').default('0 5 * * mon'),
            timeZone: TimeZone.describe('Of `cron`. Default: that of the calendar.').exactOptional(),
            catchUp: Duration.describe('How late one is still begun that Temporal was not there for.').prefault('2d'),
          })
          .describe('Pull requests for base images, pinned by tag and digest, whose tag names another image by now.')
          .prefault({}),
        audit: z
          .strictObject({
            enabled: z
              .boolean()
              .describe('Whether it is made by schedule; it can be asked for at any time (`slipway audit`).')
              .default(true),
            cron: Cron.describe('When: minute, hour, day of the month, month, day of the week.').default('0 7 1 * *'),
            timeZone: TimeZone.describe('Of `cron`. Default: that of the calendar.').exactOptional(),
            catchUp: Duration.describe('How late one is still begun that Temporal was not there for.').prefault('7d'),
          })
          .describe('A report of who did and decided what since the last one, kept as JSON and Markdown.')
          .prefault({}),
      })
      .describe('What is done by schedule for this project.')
      .prefault({}),
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

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
