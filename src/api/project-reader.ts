import { loadProject } from '../definition/load.ts';
import type { ProjectDefinition } from '../definition/project.ts';
import { ProviderError, describeFailure } from '../domain/failures.ts';
import { listProjects, readProject } from '../store/projects.ts';
import type { ApiDependencies } from './dependencies.ts';

/** A project as webhooks need it. */
export interface KnownProject {
  readonly name: string;
  readonly definition: ProjectDefinition;
  /**
   * Secrets of its webhook; any of them may sign. Only deliveries ask for them: what people do to a project must not need what its forge knows.
   *
   * @throws ProviderError `ConfigurationInvalid` (not retried): one of them is missing.
   */
  readonly readSecrets: () => Promise<readonly string[]>;
}

export interface ProjectReader {
  /** @throws ProviderError `NotFound`, `ConfigurationInvalid` where what is in force is no longer valid (not retried) */
  read(name: string): Promise<KnownProject>;
  /** Projects whose repository is at one of these addresses. */
  ofRepository(addresses: readonly string[]): Promise<readonly KnownProject[]>;
  /** A new revision was put in force by this process. */
  forget(name: string): void;
}

/** A revision put in force by another process counts after this at the latest, and so does a changed secret. */
const rememberedMs = 2_000;

/** Reads projects from the store, each at most every two seconds: a burst of webhooks must not parse the same document for each. */
export function createProjectReader(deps: Pick<ApiDependencies, 'store' | 'readSecret'>): ProjectReader {
  const known = new Map<string, { readonly project: Promise<KnownProject>; readonly until: number }>();

  async function load(name: string): Promise<KnownProject> {
    const stored = await readProject(deps.store.db, name);
    if (stored === undefined) throw new ProviderError('NotFound', `There is no project ${name}.`);
    const loaded = loadProject({ file: 'project.yaml', text: stored.text });
    if (!loaded.ok) {
      throw new ProviderError('ConfigurationInvalid', `The project ${name} is no longer valid; put it again.`);
    }
    const definition = loaded.value;
    let secrets: Promise<readonly string[]> | undefined;
    const readSecrets = async (): Promise<readonly string[]> => {
      secrets ??= readAll(name, definition);
      try {
        return await secrets;
      } catch (error) {
        secrets = undefined;
        throw error;
      }
    };
    return { name, definition, readSecrets };
  }

  async function readAll(name: string, { repository }: ProjectDefinition): Promise<readonly string[]> {
    return await Promise.all(
      repository.forge.secrets.map((ref) =>
        deps.readSecret(ref).catch((cause: unknown) => {
          // Whoever asks has not proved who they are: names of variables and files are for the log only.
          throw new ProviderError(
            'ConfigurationInvalid',
            `A secret of the webhook of ${name} cannot be read by the API: ${describeFailure(cause).message}`,
            { cause },
          );
        }),
      ),
    );
  }

  async function read(name: string): Promise<KnownProject> {
    const remembered = known.get(name);
    if (remembered !== undefined && remembered.until > performance.now()) return await remembered.project;
    const project = load(name);
    known.set(name, { project, until: performance.now() + rememberedMs });
    // Names come from addresses that anyone may ask for: only what exists is remembered.
    project.catch(() => known.delete(name));
    return await project;
  }

  return {
    read,
    async ofRepository(addresses) {
      const wanted = new Set(addresses.map(comparable));
      const all = await Promise.all(
        (await listProjects(deps.store.db)).map(({ name }) => read(name).catch(() => undefined)),
      );
      return all
        .filter((project) => project !== undefined)
        .filter((project) => wanted.has(comparable(project.definition.repository.url)));
    },
    forget: (name) => void known.delete(name),
  };
}

/** `git@host:team/app.git`, `ssh://git@host/team/app` and `https://host/team/app/` are one repository. */
function comparable(address: string): string {
  const plain = address
    .trim()
    .replace(/^[a-z+]+:\/\//i, '')
    .replace(/^[^@/]*@/, '')
    .replace(/\/+$/, '')
    .replace(/\.git$/i, '');
  return plain.replace(/^([^/:]+):(?:\d+\/)?/, '$1/').toLowerCase();
}
