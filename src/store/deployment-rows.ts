import type { DeploymentRef } from '../domain/deployment.ts';
import type { publish } from './events.ts';

/** What those who hear events are told of a deployment. */
export function deploymentEvent(
  ref: DeploymentRef,
  data: Readonly<Record<string, unknown>>,
): Parameters<typeof publish>[1][number] {
  return { kind: 'deployment', project: ref.project, environment: ref.environment, number: ref.number, data };
}

interface Filterable {
  where(column: 'project' | 'environment' | 'number', operator: '=', value: string | number): this;
}

/** The rows of one deployment, in any table that has them. */
export function whereRef<Q>(query: Q, ref: DeploymentRef): Q {
  // Kysely's builders of select and update share this method but no type that says so.
  return (query as Filterable)
    .where('project', '=', ref.project)
    .where('environment', '=', ref.environment)
    .where('number', '=', ref.number) as Q;
}
