import { z } from 'zod';
import { packageKinds, versionPlaceholders } from '../../domain/packages.ts';
import { Name, Secret, Size, mustBe, quoted } from '../scalars.ts';
import { Glob } from '../stages.ts';

/** A package that a run may publish, as its repository describes it. */
export const RepositoryPackage = z.strictObject({
  name: Name.describe('Unique; shown as a step of the stage `publish`.'),
  kind: z.enum(packageKinds).describe('`npm`: what `npm pack` makes. `python`: wheels and source distributions.'),
  index: Name.describe(
    'Name of one of the `packageIndexes` of the project. Whether a run publishes there is said by its route.',
  ),
  files: z
    .array(Glob)
    .min(1, { error: 'must name at least one pattern' })
    .max(20)
    .describe('Which files of the checkout, as the stages have left it. Links are never followed.'),
});

const address = z
  .url({ protocol: /^https?$/, error: 'must be an address such as `https://packages.example.com/npm`' })
  .refine((url) => !/^[a-z]+:\/\/[^/]*@/i.test(url), {
    error: 'must hold no name or password; put them under `token` or `credentials`',
  })
  .refine((url) => !/[?#]/.test(url), { error: 'must end with its path' });

const VersionPattern = z
  .string({ error: mustBe('a pattern of versions such as `"1.*"` or `"{tag}"`') })
  .min(1)
  .max(100)
  .superRefine((pattern, context) => {
    const known: readonly string[] = versionPlaceholders;
    const unknown = [...pattern.matchAll(/\{([^}]*)\}/g)].find(([, name = '']) => !known.includes(name));
    if (unknown === undefined) return;
    context.addIssue({
      code: 'custom',
      message: `names ${quoted(unknown[0])}, which stands for nothing; there are ${known.map((name) => `{${name}}`).join(' and ')}`,
    });
  });

const Allowed = z.strictObject({
  name: z
    .string({ error: mustBe('the name of a package, such as `parcels` or `@team/*`') })
    .regex(/^(?:@[\w.~*-]+\/)?[\w.~*-]+$/, { error: 'must be a name such as `parcels` or `@team/*`' })
    .max(214)
    .describe('Name of a package; `*` is anything but `/`.'),
  versions: z
    .array(VersionPattern)
    .min(1, { error: 'must name at least one pattern' })
    .max(20)
    .describe(
      'Patterns of versions. `{tag}` is the version of the tag that the run is of (`v1.2.0` is `1.2.0`), and nothing on a branch; `{run}` the number of the run.',
    )
    .default(['*']),
});

const shared = {
  token: Secret.describe('Token that may publish. Default: none.').exactOptional(),
  credentials: z
    .strictObject({ username: z.string().min(1).describe('Name.'), password: Secret.describe('Its password.') })
    .describe('Name and password, instead of `token`. Default: none.')
    .exactOptional(),
  insecure: z
    .boolean()
    .describe('Lets its address be plain `http`. Only for an index on this machine or its own network.')
    .default(false),
  allow: z
    .array(Allowed)
    .min(1, { error: 'must allow at least one package: by default nothing is' })
    .max(100)
    .describe(
      'What may be published there. Anything else is refused before a file has left the machine, by what is in the package and not by its name.',
    ),
  largest: Size.refine((bytes) => bytes > 0 && bytes <= 256 * 2 ** 20, { error: 'must be at most `256Mi`' })
    .describe('Of one file. Judgement: PyPI takes 100 MB.')
    .prefault('100Mi'),
};

const Npm = z
  .strictObject({
    kind: z.literal('npm').describe('A registry of npm: npmjs.com, Verdaccio, and those of GitHub, GitLab, Gitea …'),
    url: address.describe('Of the registry.'),
    access: z
      .enum(['public', 'restricted'])
      .describe('Who may read a package with a scope, where the registry tells them apart.')
      .default('restricted'),
    ...shared,
  })
  .meta({ title: 'npm' });

const Python = z
  .strictObject({
    kind: z.literal('python').describe('An index of Python packages that takes uploads as PyPI does.'),
    url: address.describe('Where files are uploaded to: `https://upload.pypi.org/legacy/`.'),
    simple: address
      .describe(
        'Where it is asked what it holds: `https://pypi.org/simple/`. Default: `simple/` below `url`; to be named where `url` ends in `legacy/`.',
      )
      .exactOptional(),
    ...shared,
  })
  .meta({ title: 'python' });

/** Where packages go. */
export const PackageIndex = z.discriminatedUnion('kind', [Npm, Python]);
