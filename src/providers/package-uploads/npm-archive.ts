import { valid } from 'semver';
import { Unreadable, readTarGz, refused } from './archive.ts';
import { integrityOf, sha256Of } from './digest.ts';
import type { ReadPackage } from './port.ts';

/** What `npm pack` makes. */
export interface NpmPackage extends ReadPackage {
  /** Its `package.json`, without what speaks for a registry. */
  readonly manifest: Readonly<Record<string, unknown>>;
}

/** As the registry takes new names: small letters. @see https://docs.npmjs.com/cli/configuring-npm/package-json#name */
const namePattern = /^(?:@[a-z0-9~-][a-z0-9._~-]*\/)?[a-z0-9~-][a-z0-9._~-]*$/;
const longestName = 214;

/**
 * Fields that would say how it is published, or what a registry adds: `tag` moves another tag than was meant, `dist` names another file, and
 * `publishConfig` another registry.
 */
const notItsOwn = new Set(['tag', 'dist', 'publishConfig', 'readme', 'readmeFilename', 'gitHead']);

/** Reads the `package.json` of an archive of npm. */
export async function readNpmPackage(file: string, content: Buffer, signal: AbortSignal): Promise<NpmPackage> {
  try {
    if (!/^[\w.~@+-]+\.tgz$/.test(file)) throw new Unreadable('is no `.tgz` by its name');
    const found = [...(await readTarGz(file, content, (path) => path === 'package/package.json', signal)).values()];
    const [text] = found;
    if (text === undefined) throw new Unreadable('has no `package/package.json`, as `npm pack` makes it');
    const manifest = readManifest(text);
    const { name, version } = manifest;
    if (typeof name !== 'string' || name.length > longestName || !namePattern.test(name)) {
      throw new Unreadable('has no name that npm takes in its package.json');
    }
    if (typeof version !== 'string' || valid(version) !== version) {
      throw new Unreadable('has no version that npm takes in its package.json');
    }
    if (manifest['private'] === true || manifest['private'] === 'true') {
      throw new Unreadable('is `private` by its package.json, which is never published');
    }
    const own = Object.entries(manifest).filter(([field]) => !notItsOwn.has(field) && !field.startsWith('_'));
    return {
      ...{ file, content, name, version, sha256: sha256Of(content), digest: integrityOf(content) },
      manifest: Object.fromEntries(own),
    };
  } catch (error) {
    throw refused(file, error, signal);
  }
}

function readManifest(text: Buffer): Readonly<Record<string, unknown>> {
  const parsed: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(text));
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw new Unreadable('has a package.json that is no object');
  }
  return parsed as Readonly<Record<string, unknown>>;
}
