import { z } from 'zod';
import { ecosystems, updateLevels } from '../../domain/dependency-update.ts';
import { Duration, Secret } from '../scalars.ts';
import { Cron, TimeZone } from './schedule.ts';

/** When something is done, with its own defaults. */
function occasions(cron: string, catchUp: string) {
  return {
    cron: Cron.describe('When: minute, hour, day of the month, month, day of the week.').default(cron),
    timeZone: TimeZone.describe('Of `cron`. Default: that of the calendar.').exactOptional(),
    catchUp: Duration.describe('How late one is still begun that Temporal was not there for.').prefault(catchUp),
  };
}

const indexAddress = z
  .url({ protocol: /^https?$/, error: 'must be an address such as `https://packages.example.com/npm`' })
  .refine((url) => !/^[a-z]+:\/\/[^/]*@/i.test(url), { error: 'must hold no password; name it beside it' })
  .transform((url) => url.replace(/\/+$/, ''));

const DependencyUpdates = z
  .strictObject({
    enabled: z
      .boolean()
      .describe('Whether pull requests are opened; that needs `repository.forge.api`, and credentials that may push.')
      .default(false),
    ...occasions('0 6 * * mon', '2d'),
    ecosystems: z
      .array(z.enum(ecosystems))
      .min(1)
      .describe(
        '`npm`: `package.json` with its `package-lock.json`. `python`: `requirements*.txt`, `constraints*.txt` and `pyproject.toml`, pinned by `==`. Default: both.',
      )
      .default([...ecosystems]),
    level: z
      .enum(updateLevels)
      .describe('The largest step that is offered, by the number of a version that changes.')
      .default('minor'),
    minimumAge: Duration.describe(
      'Nothing is offered that was published later, for what is bad in a version is mostly found in its first days. Judgement.',
    ).prefault('3d'),
    group: z
      .enum(['ecosystem', 'dependency'])
      .describe('One pull request for each ecosystem, or one for each dependency.')
      .default('ecosystem'),
    most: z
      .number()
      .int()
      .min(1)
      .max(50)
      .describe('Pull requests for dependencies that are open at once; those that fix an advisory go first.')
      .default(10),
    ignore: z
      .array(
        z.strictObject({
          name: z.string().min(1).max(214).describe('Name of the dependency, as its index has it.'),
          ecosystem: z.enum(ecosystems).describe('Default: any.').exactOptional(),
          reason: z.string().min(1).max(500).describe('Why it is left as it is; shown with every round.'),
        }),
      )
      .max(200)
      .describe('Dependencies that nothing is offered for.')
      .default([]),
    indexes: z
      .strictObject({
        npm: z
          .strictObject({
            url: indexAddress.describe('Of a registry of npm.').prefault('https://registry.npmjs.org'),
            token: Secret.describe('Default: none.').exactOptional(),
          })
          .describe('Where packages of npm are looked for.')
          .prefault({}),
        python: z
          .strictObject({
            url: indexAddress
              .describe('Of a simple repository that answers in JSON (PEP 691).')
              .prefault('https://pypi.org/simple'),
            username: z.string().min(1).describe('Name to log in with. Default: `__token__`.').default('__token__'),
            password: Secret.describe('Its password or token. Default: none.').exactOptional(),
          })
          .describe('Where packages of Python are looked for.')
          .prefault({}),
      })
      .describe('Nothing but these is asked, whatever the repository names.')
      .prefault({}),
  })
  .describe('Pull requests for dependencies that have newer versions.')
  .prefault({});

/** What is done by schedule for a project, and when. */
export const Upkeep = z
  .strictObject({
    scan: z
      .strictObject({
        enabled: z
          .boolean()
          .describe('Whether it is done by schedule; it can be asked for at any time (`slipway scan`).')
          .default(true),
        ...occasions('30 4 * * *', '12h'),
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
        ...occasions('0 5 * * mon', '2d'),
        registries: z
          .array(
            z.strictObject({
              address: z
                .string()
                .regex(/^[a-z0-9.-]+(?::\d{1,5})?$/, { error: 'must be `host` or `host:port`, without `https://`' })
                .describe('As in the name of an image, or the place where such a registry has its tokens given out.'),
              insecure: z.boolean().describe('Plain HTTP.').default(false),
              credentials: z
                .strictObject({
                  username: z.string().min(1).describe('Name to log in with.'),
                  password: Secret.describe('Its password or token.'),
                })
                .describe('Default: none.')
                .exactOptional(),
            }),
          )
          .max(50)
          .describe(
            'Registries that may be at addresses of a private network or this machine, beside that of the project. Any other that a Dockerfile names is asked only at public addresses and by https.',
          )
          .default([]),
      })
      .describe('Pull requests for base images, pinned by tag and digest, whose tag names another image by now.')
      .prefault({}),
    dependencies: DependencyUpdates,
    audit: z
      .strictObject({
        enabled: z
          .boolean()
          .describe('Whether it is made by schedule; it can be asked for at any time (`slipway audit`).')
          .default(true),
        ...occasions('0 7 1 * *', '7d'),
      })
      .describe('A report of who did and decided what since the last one, kept as JSON and Markdown.')
      .prefault({}),
  })
  .describe('What is done by schedule for this project.')
  .prefault({});
