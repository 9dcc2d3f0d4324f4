/** Whether rollbacks open incidents and notices are critical there. */
export function isProduction(name: string, environment: { readonly production?: boolean }): boolean {
  return environment.production ?? name === 'production';
}
