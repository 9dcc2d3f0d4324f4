/** The environment that a release has to have been in before production, wherever that is asked for. */
export const beforeProduction = 'staging';

/** Whether rollbacks open incidents and notices are critical there. */
export function isProduction(name: string, environment: { readonly production?: boolean }): boolean {
  return environment.production ?? name === 'production';
}
