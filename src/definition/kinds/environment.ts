import { z } from 'zod';
import { Database } from './database.ts';
import { Gates } from './gate.ts';
import { EnvironmentImages } from './images.ts';
import { EnvironmentInfrastructure } from './infrastructure.ts';
import { Router } from './router.ts';
import { Target } from './target.ts';
import { Duration, Name, Pattern, Ratio, Secrets, Variables } from '../scalars.ts';

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
  requireProof: z
    .boolean()
    .describe(
      'Whether only decisions that the API proves count, made with a token by `slipway` or HTTP. Otherwise raw signals and updates from the Temporal UI count too, marked as unproven.',
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
    .describe(
      'Regular expressions for critical log lines, of RE2, as they are written in Go: `(?i)fatal` is one for any letter case, and there is no looking ahead or behind and no reference back. The first 4,096 characters of a line count. The default is judgement.',
    )
    .default(['\\b(?:CRITICAL|FATAL|PANIC)\\b']),
  minSamples: z
    .number()
    .int()
    .min(1)
    .describe(
      'Fewest requests before errors and P95 are judged: below 20 a single one is 5 %. Where a window has fewer, so many of the newest are judged, however long ago. Judgement.',
    )
    .default(20),
  onInconclusive: z
    .enum(['succeed', 'hold'])
    .describe('What happens when no user came: the release stays, or a person is asked.')
    .default('succeed'),
});

/** Where releases go, and by whose word. */
export const Environment = z.strictObject({
  production: z
    .boolean()
    .describe(
      'Approval by default, 30 minutes of watch, every rollback opens an incident. Default: true for an environment named `production`.',
    )
    .exactOptional(),
  requireStagingSuccess: z
    .enum(['off', 'warn', 'block'])
    .describe(
      'Whether the same images must have succeeded in `staging` before: `warn` shows it in the plan as a risk, `block` makes no plan. A hotfix is only warned, and that is audited. There must be an environment `staging` then. Default: `warn` in production where there is one, otherwise `off`.',
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
      automatic: z
        .boolean()
        .describe(
          'A failed probe or watch rolls back by itself. `false`: what has traffic keeps it, held for a person.',
        )
        .default(true),
      restore: z
        .enum(['ask', 'automatic'])
        .describe(
          '`automatic`: the database is put back although writes made since the backup leave it (they are exported). `ask`: only after a release that migrated, and only when nothing was written since; otherwise the data stays, or a person is asked.',
        )
        .default('ask'),
    })
    .describe('What a failed release costs.')
    .prefault({}),
  limits: z
    .strictObject({
      ready: Duration.describe(
        'A container that was started must be healthy within this: running, and 200 at the health path. A start of more than five minutes is told to people.',
      ).prefault('30s'),
      settle: Duration.describe(
        'How long a healthy release is asked before its probes count: what fails in its slot is asked again until this is over, and then has its own `retries`. Ends with the first pass; probes of kind `container` and those through the router count at once.',
      ).prefault('30s'),
      stopGrace: Duration.describe('From SIGTERM to SIGKILL.').prefault('30s'),
      drain: Duration.describe(
        'Longest wait for the sessions of a slot to end before it is stopped, in a rollback too.',
      ).prefault('30s'),
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
