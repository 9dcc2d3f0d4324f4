import { ProviderError } from '../domain/failures.ts';
import { listEnvironments } from '../store/environments.ts';
import type { Store } from '../store/store.ts';
import type { Place, Places } from './places.ts';
import { versionInForce } from './versions.ts';

export interface PlaceDependencies {
  readonly store: Pick<Store, 'db'>;
  readonly places: Places;
}

/** An environment as its newest release meets it; undefined where nothing was deployed, or the project has it no more. */
export async function placeOf(
  { store, places }: PlaceDependencies,
  project: string,
  environment: string,
): Promise<Place | undefined> {
  try {
    const version = await versionInForce(store, { project, environment });
    return await places.open({ project, environment, version }, 'store');
  } catch (error) {
    if (error instanceof ProviderError && error.type === 'NotFound') return undefined;
    throw error;
  }
}

/** All environments of a project in which something was deployed. */
export async function placesOf(deps: PlaceDependencies, project: string): Promise<readonly Place[]> {
  const environments = await listEnvironments(deps.store.db, project);
  const places = await Promise.all(environments.map(({ name }) => placeOf(deps, project, name)));
  return places.filter((place) => place !== undefined);
}
