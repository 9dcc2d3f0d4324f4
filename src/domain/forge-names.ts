import type { Occasion } from './commit-status.ts';

/**
 * What a project's statuses, environments and releases are called at its forge. Several projects may look at one repository, and whatever two of them
 * gave one name the forge would take for the same thing: of statuses and deployments only the newest counts.
 */
export interface ForgeNames {
  /** The status that a protection of branches is to require. */
  readonly required: string;
  /**
   * @param context - as workflows name it: `slipway`, `slipway/<stage>`.
   * @param occasion - of runs whose statuses are not those of the commit's own check. Default: they are.
   */
  status(context: string, occasion?: Occasion): string;
  environment(name: string): string;
  /** A deployment, at a forge that has no list of them. */
  deploymentStatus(environment: string): string;
  /** The tag of a release that was made from no tag. */
  tag(version: string): string;
}

/** @param sole - no other project looks at the repository, so that nothing needs the project's name. */
export function forgeNames(project: string, sole: boolean): ForgeNames {
  const prefix = sole ? 'slipway' : `slipway/${project}`;
  const own = (name: string): string => (sole ? name : `${project}/${name}`);
  const statusOf = (context: string, occasion?: Occasion): string =>
    `${context.replace(/^slipway(?=\/|$)/, prefix)}${occasion === undefined ? '' : ` (${occasion})`}`;
  return {
    required: statusOf('slipway'),
    status: statusOf,
    environment: own,
    deploymentStatus: (environment) => `${prefix}/deploy/${environment}`,
    tag: own,
  };
}
