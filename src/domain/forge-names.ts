/**
 * What a project's statuses, environments and releases are called at its forge. Several projects may look at one repository, and whatever two of them
 * gave one name the forge would take for the same thing: of statuses and deployments only the newest counts.
 */
export interface ForgeNames {
  /** @param context - as workflows name it: `slipway`, `slipway/<stage>`. */
  status(context: string): string;
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
  return {
    status: (context) => context.replace(/^slipway(?=\/|$)/, prefix),
    environment: own,
    deploymentStatus: (environment) => `${prefix}/deploy/${environment}`,
    tag: own,
  };
}
