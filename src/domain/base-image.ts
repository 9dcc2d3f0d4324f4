/** Base images that a Dockerfile names by tag and digest: the digest is what is built on, the tag says what may come after it. */

/** One image that is pinned. */
export interface PinnedBase {
  /** `host:port`; `docker.io` where the file names none. */
  readonly registry: string;
  /** In the registry: `library/node`. */
  readonly repository: string;
  readonly tag: string;
  /** `sha256:…` */
  readonly digest: string;
  /** As it stands in the file, without the digest: `node:24-slim`. */
  readonly name: string;
}

const pinned =
  /(?<![\w./@:-])([a-z0-9][\w.-]*(?::\d+)?(?:\/[\w.-]+)*):([\w][\w.-]{0,127})@(sha256:[0-9a-f]{64})(?![\w])/g;

/**
 * Everything in a Dockerfile that is pinned so, defaults of arguments among it; comments are left out, for nothing is built of them.
 *
 * A base without a digest is none: a build takes whatever its tag is by then.
 */
export function pinnedBases(dockerfile: string): readonly PinnedBase[] {
  const found = new Map<string, PinnedBase>();
  for (const line of dockerfile.split('\n')) {
    if (/^\s*#/.test(line)) continue;
    for (const [, image = '', tag = '', digest = ''] of line.matchAll(pinned)) {
      found.set(`${image}:${tag}@${digest}`, { ...placeOf(image), tag, digest, name: `${image}:${tag}` });
    }
  }
  return [...found.values()];
}

/** The same file with another digest of the name, wherever it stands. */
export function withDigest(dockerfile: string, { name, digest }: PinnedBase, newest: string): string {
  return dockerfile
    .split('\n')
    .map((line) => {
      if (/^\s*#/.test(line)) return line;
      return line.replace(pinned, (whole, image: string, tag: string, present: string) =>
        `${image}:${tag}` === name && present === digest ? `${name}@${newest}` : whole,
      );
    })
    .join('\n');
}

/** Where an image lies that a Dockerfile names. */
export function imagePlace(reference: string): {
  readonly registry: string;
  readonly repository: string;
  /** A digest, where the name has one; `latest` where it has neither. */
  readonly tag: string;
} {
  const [name = '', digest] = reference.split('@');
  const tag = /:([^/:]+)$/.exec(name)?.[1];
  const image = tag === undefined ? name : name.slice(0, -tag.length - 1);
  return { ...placeOf(image), tag: digest ?? tag ?? 'latest' };
}

/** As Docker reads names: what stands before the first slash is a registry when it has a dot or a port, or is localhost. */
function placeOf(image: string): { readonly registry: string; readonly repository: string } {
  const [first = '', ...rest] = image.split('/');
  const isHost = rest.length > 0 && (/[.:]/.test(first) || first === 'localhost');
  const registry = isHost ? first : 'docker.io';
  const repository = isHost ? rest.join('/') : image;
  if (registry !== 'docker.io') return { registry, repository };
  return { registry, repository: repository.includes('/') ? repository : `library/${repository}` };
}

/** Branches of a project's pull requests for bases begin with it; another project of the same repository has its own. */
export function baseBranches(project: string): string {
  return `slipway/upkeep/${project}/base-`;
}

/** Branch of the pull request for a base: the same for the same name, whatever the digest. */
export function baseBranch(project: string, name: string): string {
  return `${baseBranches(project)}${name.replaceAll(/[^a-zA-Z0-9._-]+/g, '-').replaceAll(/\.\.+|\.$|\.lock$/g, '-')}`;
}

/** Open at once in a project; the others come with the next round, when one of these is merged. That of Renovate (`prConcurrentLimit`). */
export const mostOpen = 10;
