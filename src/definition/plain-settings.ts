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
 * Settings of steps, arguments of builds, and what the infrastructure of one environment is given.
 *
 * Those of a stage with service containers are left out: what it is told of them is the password of a database that lives as long as the stage.
 */
export function plainSettingsOf({ repository, project }: Pair, environment: string): readonly PlainSetting[] {
  const here = Object.hasOwn(project.environments, environment) ? project.environments[environment] : undefined;
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
    ...of(`environments.${environment}.infrastructure.env`, here?.infrastructure?.env),
  ];
}

function of(place: string, settings: Readonly<Record<string, unknown>> | undefined): readonly PlainSetting[] {
  return Object.entries(settings ?? {}).flatMap(([name, value]) =>
    // What names another variable says nothing of its value.
    typeof value === 'string' && !/^\$\{?[A-Za-z_]/.test(value) ? [{ place: `${place}.${name}`, name, value }] : [],
  );
}
