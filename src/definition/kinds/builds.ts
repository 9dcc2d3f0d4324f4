import { z } from 'zod';
import { Name, Secret, Secrets, mustBe, quoted } from '../scalars.ts';

/** `host:port/path`, in which what stands before the first `/` must look like a host: the engine's short names would mean Docker Hub. */
const repositoryForm =
  /^(?:localhost|[a-z0-9-]+(?:\.[a-z0-9-]+)+|[a-z0-9.-]+(?=:))(?::\d{1,5})?(?:\/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)+$/;
const tagForm = /^[\w][\w.-]{0,127}$/;

/** A repository of a registry, without a tag. */
const CacheRepository = z
  .string({ error: mustBe('a repository such as `registry.example.com/acme/cache`') })
  .max(255)
  .regex(repositoryForm, {
    error: (issue) =>
      `${quoted(issue.input)} is no repository; write it with its registry, such as \`registry.example.com/acme/cache\``,
  });

/** Where layers are kept between builds. */
const CacheReference = z
  .string({ error: mustBe('a place such as `registry.example.com/acme/cache:app`') })
  .max(400)
  .refine(
    (place) => {
      const at = place.lastIndexOf(':');
      return (
        at > place.lastIndexOf('/') && repositoryForm.test(place.slice(0, at)) && tagForm.test(place.slice(at + 1))
      );
    },
    {
      error: (issue) =>
        `${quoted(issue.input)} is no place for a cache; write registry, path and tag, such as \`registry.example.com/acme/cache:app\``,
    },
  );

/** What one image does with the layers of builds before it. */
export const ImageCache = z.strictObject({
  import: z
    .array(CacheReference)
    .max(10)
    .describe('Places whose layers are used. One that cannot be read is a warning.')
    .default([]),
  export: z
    .union([z.literal('inline'), CacheReference], {
      error: mustBe('`inline`, or a place such as `registry.example.com/acme/cache:app`'),
    })
    .describe(
      'Place that the layers of this build go to, or `inline`: into the image itself. One that refuses them is a warning. Never done for pull requests from forks.',
    )
    .exactOptional(),
  mode: z
    .enum(['min', 'max'])
    .describe('`max`: the layers of every stage of the Dockerfile, not only of what is built.')
    .default('min'),
});

const Docker = z
  .strictObject({
    kind: z.literal('docker').describe("The worker's own Docker engine: one platform an image."),
  })
  .meta({ title: 'docker' });

const BuildKit = z
  .strictObject({
    kind: z.literal('buildkit').describe('A BuildKit daemon: several platforms, caches in a registry.'),
    address: z
      .string({ error: mustBe('an address such as `unix:///run/buildkit/buildkitd.sock`') })
      .regex(/^(?:unix:\/\/\/\S+|tcp:\/\/[\w.-]+:\d{1,5})$/, {
        error: (issue) =>
          `${quoted(issue.input)} is no address of a daemon; write \`unix:///run/buildkit/buildkitd.sock\` or \`tcp://host:1234\``,
      })
      .describe('Where it listens: `unix://` and a path, or `tcp://` with host and port.'),
    tls: z
      .strictObject({
        ca: Secret.describe('Certificate of who signed that of the daemon.'),
        certificate: Secret.describe('Certificate that the worker shows.'),
        key: Secret.describe('Its private key.'),
        serverName: z
          .string()
          .regex(/^[\w.-]+$/)
          .describe("Name in the daemon's certificate. Default: the host of the address.")
          .exactOptional(),
      })
      .describe('Who may build there may run anything there as root: over a network never without.')
      .exactOptional(),
  })
  .meta({ title: 'buildkit' });

/** What builds the images of a project. */
export const Builder = z.discriminatedUnion('kind', [Docker, BuildKit]);

const Ssh = z
  .strictObject({
    key: Secret.describe('A private key.').exactOptional(),
    agent: z
      .string()
      .startsWith('/', { error: 'must be a path from the root' })
      .describe('Socket of an agent on the worker, which keeps the key to itself.')
      .exactOptional(),
  })
  .refine(({ key, agent }) => (key === undefined) !== (agent === undefined), {
    error: 'must have either `key` or `agent`',
  })
  .meta({ minProperties: 1, maxProperties: 1 });

/** What the project offers to builds beside `args`, all of it by name. */
export const buildOffers = {
  secrets: Secrets.describe(
    'What an image may ask for by name, to be mounted into single RUN instructions. Never given to pull requests from forks.',
  ).default({}),
  sshKey: Secret.describe(
    'Private key that images with `ssh: true` may use in single RUN instructions. Never given to pull requests from forks.',
  ).exactOptional(),
  ssh: z
    .record(Name, Ssh)
    .describe(
      'Keys and agents that an image may name in `ssh`, for `RUN --mount=type=ssh,id=<name>`. Never given to pull requests from forks.',
    )
    .default({}),
  caches: z
    .array(CacheRepository)
    .max(10)
    .describe(
      'Repositories of a registry in which images may keep layers (`images[].cache`). Whoever may push a branch may write there: never that of an image.',
    )
    .default([]),
};
