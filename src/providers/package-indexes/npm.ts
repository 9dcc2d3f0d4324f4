import { compare, diff, minVersion, prerelease, satisfies, valid, validRange } from 'semver';
import { z } from 'zod';
import type { VersionScheme } from '../../domain/dependency-update.ts';
import { createIndexHttp, notAsDocumented } from './index-http.ts';
import type { FoundVersion, PackageIndexKind } from './port.ts';

/** A package as the registry protocol has it (npm/registry, `docs/responses/package-metadata.md`); the whole form, for only that says when. */
const Package = z.object({
  versions: z.record(
    z.string(),
    z.object({
      deprecated: z.unknown().optional(),
      engines: z.unknown().optional(),
    }),
  ),
  time: z.record(z.string(), z.unknown()).optional(),
});

const Engines = z.object({ node: z.string().optional() });

const scheme: VersionScheme = {
  isValid: (version) => valid(version) !== null,
  compare,
  isPrerelease: (version) => prerelease(version) !== null,
  levelOf(from, to) {
    const difference = diff(from, to);
    if (difference === 'major' || difference === 'premajor') return 'major';
    return difference === 'minor' || difference === 'preminor' ? 'minor' : 'patch';
  },
  takesRuntime(requires, promised) {
    if (validRange(requires) === null || validRange(promised) === null) return true;
    const oldest = minVersion(promised);
    return oldest === null || satisfies(oldest, requires);
  },
};

/** npm's registry and what speaks like it. */
export const npmIndex: PackageIndexKind = {
  scheme,
  create(options) {
    const ask = createIndexHttp(options);
    return {
      async readVersions(name, signal) {
        // `@scope/name` is one part of the path.
        const path = name.replace('/', '%2f');
        const answer = await ask(path, 'application/json', signal);
        if (answer === undefined) return undefined;
        let read: z.infer<typeof Package>;
        try {
          read = Package.parse(JSON.parse(answer.body.toString('utf8')));
        } catch {
          throw notAsDocumented(options.url, path);
        }
        return Object.entries(read.versions).flatMap(([version, { deprecated, engines }]): FoundVersion[] => {
          if (!scheme.isValid(version) || (deprecated !== undefined && deprecated !== false && deprecated !== ''))
            return [];
          const publishedAt = dateOf(read.time?.[version]);
          // Of old packages it is a list.
          const node = Engines.safeParse(engines).data?.node;
          return [
            {
              version,
              ...(publishedAt === undefined ? {} : { publishedAt }),
              ...(node === undefined ? {} : { requires: node }),
            },
          ];
        });
      },
    };
  },
};

function dateOf(value: unknown): string | undefined {
  return typeof value === 'string' && !Number.isNaN(Date.parse(value)) ? value : undefined;
}
