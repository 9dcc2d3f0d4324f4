import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Configuration, environmentFiles, readConfiguration } from '../definition/configuration.ts';
import type { MigrationFile } from '../providers/migrations/port.ts';
import { migrationsOf } from '../providers/migrations/files.ts';
import type { SourceRepository } from '../providers/repositories/port.ts';
import type { Place } from './places.ts';
import { type ReadSecret, repositoryAddress } from './secrets.ts';

/** What a release brings along beside its images: texts of its commit. */
export interface Material {
  readonly migrations: readonly MigrationFile[];
  readonly configuration: Configuration;
}

export interface Materials {
  /**
   * @throws `CommitNotFound`, `DefinitionInvalid`, `EnvironmentFileInvalid` (not retried), `RepositoryUnreachable` (retried) where it was not
   * read before
   */
  of(place: Place, signal?: AbortSignal): Promise<Material>;
}

export interface MaterialDependencies {
  readonly repositories: SourceRepository;
  readonly readSecret: ReadSecret;
  /** Texts of commits are kept here, so that a rollback does not need the forge. */
  readonly folder: string;
}

interface Texts {
  /** By path from the root. */
  readonly environment: Readonly<Record<string, string>>;
  readonly migrations: readonly { readonly path: string; readonly text: string }[];
}

const remembered = 100;

/** Reads migrations and environment files of a release's commit; one a worker. */
export function createMaterials({ repositories, readSecret, folder }: MaterialDependencies): Materials {
  const known = new Map<string, Promise<Texts>>();

  async function fromRepository(place: Place, signal?: AbortSignal): Promise<Texts> {
    const { project, commit } = place.release;
    const abort = signal === undefined ? {} : { signal };
    const repository = await repositoryAddress(place.pair.project, readSecret);
    await repositories.ensureCommit({ repository, commit, ...abort });
    const read = (path: string): Promise<string | undefined> =>
      repositories.readFile({ project, commit, path, ...abort });
    const at = place.spec.migrations?.folder;
    const tree = at === undefined ? [] : ((await repositories.listTree({ project, commit, path: at, ...abort })) ?? []);
    const sql = tree.map((entry) => entry.path).filter((path) => path.endsWith('.sql') && !path.includes('/'));
    const [environment, migrations] = await Promise.all([
      Promise.all(environmentFiles(place.spec.name).map(async (path) => [path, await read(path)] as const)),
      Promise.all(sql.map(async (path) => ({ path, text: (await read(`${at ?? '.'}/${path}`)) ?? '' }))),
    ]);
    const found = environment.filter((each): each is [string, string] => each[1] !== undefined);
    return { environment: Object.fromEntries(found), migrations };
  }

  async function texts(place: Place, signal?: AbortSignal): Promise<Texts> {
    const { project, commit } = place.release;
    const name = `${place.spec.name}-${place.definition.slice(0, 16)}.json`;
    const file = join(folder, project, commit, name);
    const kept = await readFile(file, 'utf8').catch(() => undefined);
    if (kept !== undefined) return JSON.parse(kept) as Texts;
    const made = await fromRepository(place, signal);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(`${file}.${process.pid}`, JSON.stringify(made));
    await rename(`${file}.${process.pid}`, file);
    return made;
  }

  return {
    async of(place, signal) {
      const key = `${place.release.project}/${place.release.commit}/${place.spec.name}/${place.definition}`;
      let reading = known.get(key);
      if (reading === undefined) {
        reading = texts(place, signal);
        known.set(key, reading);
        reading.catch(() => known.delete(key));
        const oldest = known.size > remembered ? known.keys().next().value : undefined;
        if (oldest !== undefined) known.delete(oldest);
      }
      const { environment, migrations } = await reading;
      return {
        migrations: migrationsOf(migrations),
        configuration: readConfiguration(environment, place.spec.name, place.pair),
      };
    },
  };
}
