import { imagePlace } from '../../domain/base-image.ts';
import { ProviderError } from '../../domain/failures.ts';
import type { ImageRegistry, RegistryAddress } from '../registries/port.ts';

/** What is asked of a registry for a base. */
type BaseRegistry = Pick<ImageRegistry, 'readContent' | 'readPlatforms'>;

export interface BaseOptions {
  /** The registry of the project. */
  readonly own: RegistryAddress;
  readonly open: (address: RegistryAddress) => BaseRegistry;
  /** One that anybody has named: told no password, and never asked in the own network unless the project names it. */
  readonly openForeign: (address: string) => BaseRegistry;
  /** The Dockerfile is anybody's: it gets what anybody gets. */
  readonly untrusted: boolean;
  /** Of the image that will be built on them; empty: the builder's own, which is not known here. */
  readonly platforms: readonly string[];
  /** Names of those that need not have them. */
  readonly anyPlatform: readonly string[];
  readonly signal: AbortSignal;
}

/**
 * Asks registries for the digests of base images.
 *
 * A base without a list of platforms is taken for any by BuildKit: an image for `linux/arm64` on one for `linux/amd64` would be built, called so, and
 * start nowhere. So the platforms are looked at here.
 *
 * @throws `BuildFailed` (not retried): there is no such image, or not for a platform. `RegistryRefused`, `RegistryUnavailable` (retried)
 */
export async function resolveBases(
  references: readonly string[],
  options: BaseOptions,
): Promise<Readonly<Record<string, string>>> {
  const found: Record<string, string> = {};
  for (const reference of references) found[reference] = await resolveBase(reference, options);
  return found;
}

async function resolveBase(
  reference: string,
  { platforms, anyPlatform, signal, ...options }: BaseOptions,
): Promise<string> {
  const { registry, repository, tag } = imagePlace(reference);
  const name = `${registry}/${repository}`;
  try {
    const images = registryOf(registry, options);
    const content = await images.readContent(name, tag, signal);
    if (content === undefined) throw cannotBeHad(reference, `${registry} has none`);
    if (platforms.length === 0 || anyPlatform.includes(reference)) return content.digest;
    const offered = (await images.readPlatforms(name, content.digest, signal)).map(({ platform }) => platform);
    const missing = platforms.filter((platform) => !offered.includes(platform));
    if (missing.length === 0) return content.digest;
    throw new ProviderError(
      'BuildFailed',
      `the base image ${reference} has nothing for ${missing.join(', ')}, only for ${offered.join(', ') || 'no platform'}`,
      { details: { image: reference, missing, offered } },
    );
  } catch (error) {
    // A Dockerfile that asks for what its author may not have is its author's mistake, not one of the project's login.
    if (options.untrusted && error instanceof ProviderError && error.type === 'RegistryRefused')
      throw cannotBeHad(reference, error.message);
    throw error;
  }
}

function registryOf(
  registry: string,
  { own, open, openForeign, untrusted }: Pick<BaseOptions, 'own' | 'open' | 'openForeign' | 'untrusted'>,
): BaseRegistry {
  if (registry === own.address) return open(untrusted ? { address: own.address, insecure: own.insecure } : own);
  if (untrusted) return openForeign(registry);
  const isHere = /^(?:localhost|127\.\d+\.\d+\.\d+)(?::|$)/.test(registry);
  return open({ address: registry, insecure: isHere });
}

function cannotBeHad(reference: string, why: string): ProviderError {
  return new ProviderError('BuildFailed', `the base image ${reference} cannot be had: ${why}`, {
    details: { image: reference },
  });
}
