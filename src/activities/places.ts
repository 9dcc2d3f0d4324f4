import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { resolveEnvironment, resolvePolicy } from '../definition/environment.ts';
import { definitionInvalid, loadPair, reviveDefinition } from '../definition/load.ts';
import { type DefinitionPair, hashDefinition, serialiseDefinition } from '../definition/pair.ts';
import type { EnvironmentSpec } from '../definition/specs/environment.ts';
import { stricterApproval } from '../domain/approval.ts';
import { ProviderError } from '../domain/failures.ts';
import type { Release } from '../domain/release.ts';
import type { Router } from '../providers/routers/port.ts';
import type { Target } from '../providers/targets/port.ts';
import { readDefinition, readProject } from '../store/projects.ts';
import { readRelease } from '../store/releases.ts';
import type { Store } from '../store/store.ts';

/** An environment as one release meets it, with the hands to change it. */
export interface Place {
  readonly pair: DefinitionPair;
  /** Hash of {@link Place.pair}. */
  readonly definition: string;
  readonly spec: EnvironmentSpec;
  readonly release: Release & { readonly author: string; readonly runKey: string | null };
  readonly target: Target;
  readonly router: Router;
}

/** Which environment, and the release whose word on service, probes and migrations holds. */
export interface PlaceRef {
  readonly project: string;
  readonly environment: string;
  readonly version: string;
}

export interface Places {
  /**
   * @param from - `store`: the documents as they are in force now. `nearest`: as they were last read here, for what follows a plan, and for
   * moves back, which must not wait for the store. Default `nearest`.
   * @throws `NotFound` (not retried): no such release, project or environment; `StoreUnavailable` (retried) when nothing is nearer
   */
  open(ref: PlaceRef, from?: 'store' | 'nearest'): Promise<Place>;
}

export interface KeptReleases {
  /** What this worker keeps of a release that it has deployed, for the day after the store was lost; undefined where it has none. */
  kept(ref: PlaceRef): Promise<KeptRelease | undefined>;
}

export interface KeptRelease {
  readonly release: Place['release'];
  /** `serialiseDefinition` of the pair that the release was built with. */
  readonly built: string;
}

export interface PlaceDependencies {
  readonly store: Pick<Store, 'db'>;
  readonly openTarget: (spec: EnvironmentSpec) => Promise<Target>;
  readonly openRouter: (spec: EnvironmentSpec) => Promise<Router>;
  /** Where what was read is kept for the time when the store is away. */
  readonly folder: string;
}

/** What a place is made of; this much is kept on disk. */
interface Documents extends KeptRelease {
  /** The same of the release's repository document and the project's document in force. */
  readonly definition: string;
}

const remembered = 200;
/** Pairs of documents in force that are kept read. Judgement: of a worker's busy projects. */
const rememberedPairs = 20;

/** Opens environments; one a worker. */
export function createPlaces({ store, openTarget, openRouter, folder }: PlaceDependencies): Places & KeptReleases {
  const known = new Map<string, Promise<Place>>();
  const inForce = new Map<string, string>();
  const fileOf = ({ project, environment, version }: PlaceRef): string =>
    join(folder, project, environment, `${encodeURIComponent(version)}.json`);
  const keyOf = (ref: PlaceRef): string => `${ref.project}/${ref.environment}/${ref.version}`;

  async function fromStore(ref: PlaceRef): Promise<Documents> {
    const [release, project] = await Promise.all([
      readRelease(store.db, ref.project, ref.version),
      readProject(store.db, ref.project),
    ]);
    if (release === undefined) throw new ProviderError('NotFound', `${ref.project} has no release ${ref.version}.`);
    if (project === undefined) throw new ProviderError('NotFound', `There is no project ${ref.project}.`);
    const built = await readDefinition(store.db, release.definition);
    if (built === undefined) {
      throw new ProviderError('NotFound', `The definition of ${ref.project} ${ref.version} is no longer kept.`);
    }
    const { author, runKey, ...rest } = release;
    return { release: { ...rest, author, runKey }, built, definition: combine(built, project.text) };
  }

  /** How it is checked and probed is the commit's word; where it goes and who agrees is the project's present one. */
  function combine(built: string, project: string): string {
    // Both as they are, so that what was read of them before holds.
    const key = JSON.stringify([built, project]);
    const combined = inForce.get(key);
    if (combined !== undefined) return combined;
    // JSON is YAML.
    const pair = loadPair({
      repository: { file: 'slipway.yaml', text: JSON.stringify(reviveDefinition(built).source.repository) },
      project: { file: 'project.yaml', text: project },
    });
    if (!pair.ok) throw definitionInvalid(pair.problems);
    const definition = serialiseDefinition(pair.value);
    if (inForce.size >= rememberedPairs) inForce.clear();
    inForce.set(key, definition);
    return definition;
  }

  async function fromDisk(ref: PlaceRef): Promise<Documents | undefined> {
    const text = await readFile(fileOf(ref), 'utf8').catch(() => undefined);
    return text === undefined ? undefined : (JSON.parse(text) as Documents);
  }

  async function toDisk(ref: PlaceRef, documents: Documents): Promise<void> {
    const file = fileOf(ref);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(`${file}.${process.pid}`, JSON.stringify(documents));
    await rename(`${file}.${process.pid}`, file);
  }

  async function make(ref: PlaceRef, { release, built, definition }: Documents): Promise<Place> {
    const pair = reviveDefinition(definition);
    const spec = neverLaxer(resolveEnvironment(pair, ref.environment), reviveDefinition(built));
    const [target, router] = await Promise.all([openTarget(spec), openRouter(spec)]);
    return { pair, definition: hashDefinition(pair), spec, release, target, router };
  }

  function remember(ref: PlaceRef, place: Promise<Place>): Promise<Place> {
    const key = keyOf(ref);
    known.delete(key);
    known.set(key, place);
    // What failed is asked again.
    place.catch(() => known.delete(key));
    const oldest = known.size > remembered ? known.keys().next().value : undefined;
    if (oldest !== undefined) known.delete(oldest);
    return place;
  }

  async function read(ref: PlaceRef, nearest: boolean): Promise<Place> {
    let documents = nearest ? await fromDisk(ref) : undefined;
    if (documents === undefined) {
      documents = await fromStore(ref);
      // Kept for a day without a store; that it could not be kept is no reason to stop now.
      await toDisk(ref, documents).catch(() => undefined);
    }
    return await make(ref, documents);
  }

  return {
    async open(ref, from = 'nearest') {
      const nearest = from === 'nearest';
      return await ((nearest ? known.get(keyOf(ref)) : undefined) ?? remember(ref, read(ref, nearest)));
    },
    kept: fromDisk,
  };
}

/** Whoever could change the project after the push must not have made the push easier to approve. */
function neverLaxer(spec: EnvironmentSpec, built: DefinitionPair): EnvironmentSpec {
  const then = built.project.environments[spec.name];
  if (then === undefined) return spec;
  const approval = stricterApproval(spec.policy.approval, resolvePolicy(built, spec.name, then).approval);
  return { ...spec, policy: { ...spec.policy, approval } };
}
