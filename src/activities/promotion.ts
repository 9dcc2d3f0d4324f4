import { beforeProduction as before, isProduction } from '../definition/production.ts';
import type { DeploymentInput } from '../domain/deployment.ts';
import { ProviderError } from '../domain/failures.ts';
import { appendAudit } from '../store/audit.ts';
import { succeededWith } from '../store/deployments.ts';
import type { Db } from '../store/schema.ts';
import type { Place } from './places.ts';

/**
 * Whether a release may go where it is to go, by the rule of the environment.
 *
 * @returns why it should not, for the plan to show; undefined when it was there before or need not have been.
 * @throws `NotPromoted` (not retried): the rule says `block`, and it is no hotfix
 */
export async function promotionOf(db: Db, place: Place, input: DeploymentInput): Promise<string | undefined> {
  const { environments } = place.pair.project;
  const own = environments[place.spec.name];
  const hasBefore = Object.hasOwn(environments, before) && place.spec.name !== before;
  const byDefault = hasBefore && own !== undefined && isProduction(place.spec.name, own) ? 'warn' : 'off';
  const rule = own?.requireStagingSuccess ?? byDefault;
  if (rule === 'off' || !hasBefore) return undefined;
  const { project, environment, version, number, priority } = input;
  const earlier = await succeededWith(db, { project, environment: before }, place.release);
  if (earlier !== undefined) return undefined;
  const why = `The images of ${version} have never succeeded in ${before}.`;
  if (rule === 'warn') return why;
  if (priority !== 'hotfix') throw new ProviderError('NotPromoted', why);
  await appendAudit(db, {
    actor: input.requestedBy,
    action: 'promotion.exempted',
    object: `${project}/${environment}/${number}`,
    detail: { version, why, because: 'hotfix' },
  });
  return `${why} It is a hotfix, so it may go all the same.`;
}
