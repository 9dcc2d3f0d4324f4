import { ProviderError } from '../../domain/failures.ts';

/** A clock that is a little ahead elsewhere is no reason to distrust a database. Judgement. */
const skewMs = 3_600_000;
const hourMs = 3_600_000;

/**
 * @param renewedAt - when the advisories were last renewed.
 * @throws `ScanErrored` (not retried): they are older than they may be, or of a time to come.
 */
export function checkDatabaseAge(what: string, renewedAt: Date, now: Date, maxAgeMs: number): void {
  const ageMs = now.getTime() - renewedAt.getTime();
  if (ageMs >= -skewMs && ageMs <= maxAgeMs) return;
  const at = Number.isNaN(renewedAt.getTime()) ? 'no known time' : renewedAt.toISOString();
  const why =
    ageMs < -skewMs
      ? `is of ${at}, which is still to come`
      : `is of ${at}, older than the ${Math.round(maxAgeMs / hourMs)} hours it may be`;
  throw new ProviderError('ScanErrored', `${what} ${why}`, { details: { database: what, renewedAt: at } });
}
