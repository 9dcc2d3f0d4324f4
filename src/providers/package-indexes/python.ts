import { compare, explain, satisfies, valid, validRange } from '@renovatebot/pep440';
import { z } from 'zod';
import type { VersionScheme } from '../../domain/dependency-update.ts';
import { createIndexHttp, notAsDocumented } from './index-http.ts';
import type { FoundVersion, PackageIndexKind } from './port.ts';

/** The simple repository API as JSON, version 1.1 (PEP 691, PEP 700): what mirrors speak too. */
const accept = 'application/vnd.pypi.simple.v1+json';

const Project = z.object({
  files: z.array(
    z.object({
      filename: z.string(),
      hashes: z.record(z.string(), z.string()).optional(),
      'requires-python': z.string().nullish(),
      'upload-time': z.string().nullish(),
      yanked: z.union([z.boolean(), z.string()]).optional(),
    }),
  ),
});

const scheme: VersionScheme = {
  isValid: (version) => valid(version) !== null,
  compare,
  isPrerelease(version) {
    const parts = explain(version);
    return parts === null || parts.is_prerelease || parts.is_devrelease || parts.local !== null;
  },
  levelOf(from, to) {
    const [one, other] = [explain(from), explain(to)];
    if (one === null || other === null || one.epoch !== other.epoch) return 'major';
    const numbers = (parts: { readonly release: readonly number[] }, index: number): number =>
      parts.release[index] ?? 0;
    if (numbers(one, 0) !== numbers(other, 0)) return 'major';
    return numbers(one, 1) !== numbers(other, 1) ? 'minor' : 'patch';
  },
  takesRuntime(requires, promised) {
    const oldest = [...promised.matchAll(/(?:>=|~=|===?)\s*([\w.!+]+)/g)]
      .map(([, version = '']) => version)
      .filter((version) => valid(version) !== null)
      .sort(compare)
      .at(-1);
    return oldest === undefined || !validRange(requires) || satisfies(oldest, requires);
  },
};

/** PyPI and what speaks like it. */
export const pythonIndex: PackageIndexKind = {
  scheme,
  create(options) {
    const ask = createIndexHttp(options);
    return {
      async readVersions(name, signal) {
        const path = `${normalizedName(name)}/`;
        const answer = await ask(path, accept, signal);
        if (answer === undefined) return undefined;
        let read: z.infer<typeof Project>;
        try {
          read = Project.parse(JSON.parse(answer.body.toString('utf8')));
        } catch {
          throw notAsDocumented(options.url, path);
        }
        return versionsOf(name, read.files);
      },
    };
  },
};

/** A version is there with its first file, and gone when all of them are withdrawn. */
function versionsOf(name: string, files: z.infer<typeof Project>['files']): readonly FoundVersion[] {
  const found = new Map<string, FoundVersion & { readonly hashes: readonly string[] }>();
  for (const file of files) {
    if (file.yanked !== undefined && file.yanked !== false) continue;
    const version = versionIn(file.filename, name);
    if (version === undefined || !scheme.isValid(version)) continue;
    const before = found.get(version);
    const at = file['upload-time'] ?? undefined;
    const publishedAt = [before?.publishedAt, at]
      .filter((one) => one !== undefined && !Number.isNaN(Date.parse(one)))
      .sort()[0];
    const requires = file['requires-python'] ?? before?.requires;
    const sha = file.hashes?.['sha256'];
    const hashes = [
      ...(before?.hashes ?? []),
      ...(sha !== undefined && /^[0-9a-f]{64}$/.test(sha) ? [`sha256:${sha}`] : []),
    ];
    found.set(version, {
      version,
      ...(publishedAt === undefined ? {} : { publishedAt }),
      ...(requires === undefined ? {} : { requires }),
      hashes,
    });
  }
  return [...found.values()];
}

/** By the names of wheels and source archives (packaging.python.org, "binary distribution format", "source distribution format"). */
function versionIn(filename: string, name: string): string | undefined {
  if (filename.endsWith('.whl')) return filename.split('-')[1];
  const stem = /^(.+)\.(?:tar\.gz|zip|tar\.bz2)$/.exec(filename)?.[1];
  if (stem === undefined) return undefined;
  // A name may hold hyphens in old archives, a version none that follows the name.
  for (let dash = stem.indexOf('-'); dash !== -1; dash = stem.indexOf('-', dash + 1)) {
    if (normalizedName(stem.slice(0, dash)) === normalizedName(name)) return stem.slice(dash + 1);
  }
  return undefined;
}

/** PEP 503 */
export function normalizedName(name: string): string {
  return name.toLowerCase().replaceAll(/[-_.]+/g, '-');
}
