import type { RegistryCredentials } from './port.ts';

/** What every client of the distribution protocol says and reads alike. */

/** What a client must say it takes, or an older registry answers with a converted manifest and another digest. */
export const manifestTypes = [
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
].join(', ');

/** Docker Hub's name in images is not the name of its host. */
export function hostOf(address: string): string {
  return address === 'docker.io' ? 'registry-1.docker.io' : address;
}

/** Path of a repository without its registry. */
export function pathOf(repository: string): string {
  const slash = repository.indexOf('/');
  return repository
    .slice(slash + 1)
    .split('/')
    .map(encodeURIComponent)
    .join('/');
}

/** The header that a password goes by (RFC 7617); undefined where there is none. */
export function basicAuthorization(credentials: RegistryCredentials | undefined): string | undefined {
  if (credentials === undefined) return undefined;
  return `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64')}`;
}

/** Where a challenge (RFC 6750, token authentication of the distribution specification) says that tokens are given out; undefined where it asks for a password. */
export function tokenAddress(challenge: string): URL | undefined {
  if (!/^bearer\b/i.test(challenge)) return undefined;
  const parameters = new Map<string, string>();
  for (const [, name = '', value = ''] of challenge.matchAll(/(\w+)="([^"]*)"/g)) parameters.set(name, value);
  const url = URL.parse(parameters.get('realm') ?? '');
  if (url === null) return undefined;
  for (const name of ['service', 'scope']) {
    const value = parameters.get(name);
    if (value !== undefined) url.searchParams.set(name, value);
  }
  return url;
}

/** The token in the answer of such a place. */
export function tokenIn(body: unknown): string | undefined {
  const { token, access_token: other } = (body ?? {}) as { readonly token?: unknown; readonly access_token?: unknown };
  const found = token ?? other;
  return typeof found === 'string' && found !== '' ? found : undefined;
}
