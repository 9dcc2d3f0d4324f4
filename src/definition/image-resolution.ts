/** What the two documents make of images: what they are built from, where they go, and what must be known of them. */
import type { ImageDefinition } from './image-groups.ts';
import { pickOffered } from './offered-secrets.ts';
import type { DefinitionPair } from './pair.ts';
import type { ImageCacheSpec, ImageSpec, RegistrySpec, SshSpec } from './specs/image.ts';
import type { ScanSpec, SupplyChainSpec } from './specs/supply-chain.ts';

/** What must be known of images, in every environment. A fork's images are never signed. */
export function resolveSupplyChain({ project }: Pick<DefinitionPair, 'project'>, fork: boolean): SupplyChainSpec {
  const { tags, maxSize, verify, sbom, signing, builder } = project.images;
  const scan = resolveScan(project);
  return {
    tags,
    maxSizeBytes: maxSize,
    verify,
    sbom,
    ...(scan === undefined ? {} : { scan }),
    ...(signing === undefined || fork ? {} : { signing }),
    builder,
  };
}

/** How images are scanned; undefined where the project names no scanner. */
export function resolveScan(project: DefinitionPair['project']): ScanSpec | undefined {
  const { scan } = project.images;
  if (scan === undefined) return undefined;
  return {
    scanner: scan.scanner,
    database: scan.database,
    maxAgeMs: scan.maxAge,
    severities: scan.severities,
    exceptions: scan.exceptions,
    mode: scan.mode,
    modes: Object.fromEntries(
      Object.entries(project.environments).map(([name, { images }]) => [name, images.scan ?? scan.mode]),
    ),
  };
}

/** Where images of the project are pushed to and run from. */
export function resolveRegistry({ project }: Pick<DefinitionPair, 'project'>): RegistrySpec {
  const { address, insecure, credentials, credentialHelper, ecr, prefix } = project.registry;
  return {
    address,
    prefix: prefix ?? project.project,
    insecure,
    ...(credentials === undefined ? {} : { credentials }),
    ...(credentialHelper === undefined ? {} : { credentialHelper }),
    ...(ecr === undefined ? {} : { ecr }),
  };
}

export function resolveImage(pair: DefinitionPair, image: ImageDefinition, fork: boolean): ImageSpec {
  const { group } = image;
  const concurrency = group === undefined ? undefined : pair.repository.imageGroups?.[group]?.concurrency;
  const { builds } = pair.project;
  const { address, prefix } = resolveRegistry(pair);
  return {
    name: image.name,
    ...(group === undefined ? {} : { group: { name: group, ...(concurrency === undefined ? {} : { concurrency }) } }),
    repository: [address, prefix, image.name].filter((part) => part !== '').join('/'),
    context: image.context,
    dockerfile: image.dockerfile,
    ...(image.target === undefined ? {} : { target: image.target }),
    args: { ...image.args, ...builds.args },
    platforms: [...image.platforms].sort(),
    network: builds.network === 'none' ? 'none' : (image.network ?? builds.network),
    secrets: fork ? {} : pickOffered(builds.secrets, image.secrets),
    ssh: fork ? {} : resolveSsh(pair, image),
    ...(image.cache === undefined ? {} : { cache: resolveImageCache(image.cache, fork) }),
  };
}

function resolveSsh({ project: { builds } }: DefinitionPair, { ssh }: ImageDefinition): ImageSpec['ssh'] {
  if (ssh === false) return {};
  if (ssh === true) return builds.sshKey === undefined ? {} : { default: { kind: 'key', key: builds.sshKey } };
  return Object.fromEntries(
    ssh.flatMap((name): readonly (readonly [string, SshSpec])[] => {
      const { key, agent } = builds.ssh[name] ?? {};
      if (agent !== undefined) return [[name, { kind: 'agent', socket: agent }]];
      return key === undefined ? [] : [[name, { kind: 'key', key }]];
    }),
  );
}

/** What a fork writes others would build upon. */
function resolveImageCache(cache: NonNullable<ImageDefinition['cache']>, fork: boolean): ImageCacheSpec {
  const { export: place } = cache;
  return {
    import: cache.import,
    ...(place === undefined || fork ? {} : { export: place === 'inline' ? place : { place } }),
    mode: cache.mode,
  };
}
