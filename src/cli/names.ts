import type { DeploymentRef } from '../domain/deployment.ts';
import { CliError } from './exit.ts';

/** What a person may name on the command line. */
export type Named =
  | { readonly kind: 'run'; readonly project: string; readonly number: number }
  | ({ readonly kind: 'deployment' } & DeploymentRef);

const namePart = /^[a-z0-9][a-z0-9._-]*$/i;

/**
 * Reads the name of a run (`12`, `#12`, `hello#12`) or of a deployment (`production/3`, `hello/production/3`, `hello/production#3`,
 * and the workflow's id `deployment/hello/production/3` as the Temporal UI shows it).
 *
 * @param project - taken where the name has none.
 * @throws CliError `usage` - it is none of these, or no project is known.
 */
export function parseName(text: string, project: string | undefined): Named {
  const run = /^(?:([^#/]+)?#)?(\d+)$/.exec(text);
  if (run !== null) return { kind: 'run', project: run[1] ?? need(project, text), number: Number(run[2]) };
  // Only with a project before it: `production#3` is run 3 of a project of that name.
  const parts = text.replace(/^([^#]+\/[^#/]+)#(\d+)$/, '$1/$2').split('/');
  if (parts.length === 4 && ['deployment', 'rollout', 'rollback'].includes(parts[0] ?? '')) parts.shift();
  const number = Number(parts.pop());
  const environment = parts.pop();
  const owner = parts.pop() ?? project;
  if (
    parts.length > 0 ||
    !Number.isSafeInteger(number) ||
    number < 1 ||
    environment === undefined ||
    !namePart.test(environment)
  ) {
    throw new CliError(
      'usage',
      `${text} names neither a run (12, hello#12) nor a deployment (production/3, hello/production/3).`,
      {
        next: [{ command: 'slipway list', when: 'to see runs and deployments with their names' }],
      },
    );
  }
  return { kind: 'deployment', project: need(owner, text), environment, number };
}

/** As {@link parseName}, where only a deployment will do. */
export function parseDeployment(text: string, project: string | undefined): DeploymentRef {
  const named = parseName(text, project);
  if (named.kind === 'deployment') return named;
  throw new CliError('usage', `${text} is a run; name one of its deployments, such as ${named.project}/production/3.`, {
    next: [{ command: `slipway status ${named.project}#${named.number}`, when: 'to see the deployments of the run' }],
  });
}

/** Reads an environment: `production` or `hello/production`. */
export function parseEnvironment(
  text: string,
  project: string | undefined,
): { readonly project: string; readonly environment: string } {
  const parts = text.split('/');
  const environment = parts.pop() ?? '';
  const owner = parts.pop() ?? project;
  if (parts.length > 0 || !namePart.test(environment)) {
    throw new CliError('usage', `${text} is no environment; name one such as production or hello/production.`);
  }
  return { project: need(owner, text), environment };
}

/** As a person types it, and as it can be pasted back. */
export function nameOf(ref: DeploymentRef): string {
  return `${ref.project}/${ref.environment}/${ref.number}`;
}

function need(project: string | undefined, text: string): string {
  if (project !== undefined && namePart.test(project)) return project;
  throw new CliError('usage', `${text} does not say which project; put it in front or give --project.`, {
    next: [{ command: 'slipway environments', when: 'to see the projects there are' }],
  });
}
