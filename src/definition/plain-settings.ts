/** Settings that stand in the two documents as they are, beside those that a release runs with. */
import type { DefinitionPair } from './pair.ts';

export interface PlainSetting {
  /** Where it stands: `stages.test.unit.env.API_KEY`. */
  readonly place: string;
  readonly name: string;
  readonly value: string;
}

type Pair = Pick<DefinitionPair, 'repository' | 'project'>;

/**
 * Settings of steps, arguments of builds, and what the infrastructure of one environment is given: settings, variables, and where its state is.
 *
 * Those of a stage with service containers are left out: what it is told of them is the password of a database that lives as long as the stage.
 */
export function plainSettingsOf({ repository, project }: Pair, environment: string): readonly PlainSetting[] {
  const here = Object.hasOwn(project.environments, environment) ? project.environments[environment] : undefined;
  const how = here?.infrastructure;
  const place = `environments.${environment}.infrastructure`;
  return [
    ...of('steps.env', project.steps.env),
    ...of('builds.args', project.builds.args),
    ...of('env', repository.env),
    ...repository.stages.flatMap((stage) =>
      Object.keys(stage.services).length > 0
        ? []
        : stage.steps.flatMap(({ name, env }) => of(`stages.${stage.name}.${name}.env`, env)),
    ),
    ...repository.images.flatMap(({ name, args }) => of(`images.${name}.args`, args)),
    // Also what the project goes over: it stands in the repository all the same.
    ...of('infrastructure.variables', repository.infrastructure?.variables),
    ...of(`${place}.env`, how?.env),
    ...of(`${place}.variables`, how?.variables),
    ...of(`${place}.backend.config`, how !== undefined && 'backend' in how ? how.backend.config : undefined),
  ];
}

type Value = string | number | boolean | readonly Value[] | { readonly [name: string]: Value };

function of(place: string, settings: Readonly<Record<string, Value>> | undefined): readonly PlainSetting[] {
  return Object.entries(settings ?? {}).flatMap(([name, value]) => settingsIn(`${place}.${name}`, name, value));
}

/** What is in a list is called as the list, what is in a group by its own name. */
function settingsIn(place: string, name: string, value: Value): readonly PlainSetting[] {
  if (typeof value === 'object') {
    return isList(value) ? value.flatMap((one, at) => settingsIn(`${place}[${at}]`, name, one)) : of(place, value);
  }
  const text = String(value);
  // What names another variable says nothing of its value.
  return /^\$\{?[A-Za-z_]/.test(text) ? [] : [{ place, name, value: text }];
}

/** `Array.isArray` does not know lists that are read only. */
function isList(value: object): value is readonly Value[] {
  return Array.isArray(value);
}
