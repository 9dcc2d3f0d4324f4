import { z } from 'zod';
import { Duration } from '../scalars.ts';
import { Cron, TimeZone } from './schedule.ts';

/** When something is done, with its own defaults. */
function occasions(cron: string, catchUp: string) {
  return {
    cron: Cron.describe('When: minute, hour, day of the month, month, day of the week.').default(cron),
    timeZone: TimeZone.describe('Of `cron`. Default: that of the calendar.').exactOptional(),
    catchUp: Duration.describe('How late one is still begun that Temporal was not there for.').prefault(catchUp),
  };
}

/** What is done by schedule for a project, and when. */
export const Upkeep = z
  .strictObject({
    scan: z
      .strictObject({
        enabled: z
          .boolean()
          .describe('Whether it is done by schedule; it can be asked for at any time (`slipway scan`).')
          .default(true),
        ...occasions('30 4 * * *', '12h'),
      })
      .describe('Scans of what is live and what was before it, where `images.scan` names a scanner.')
      .prefault({}),
    bases: z
      .strictObject({
        enabled: z
          .boolean()
          .describe(
            'Whether pull requests are opened; that needs `repository.forge.api`, and credentials that may push.',
          )
          .default(false),
        ...occasions('0 5 * * mon', '2d'),
      })
      .describe('Pull requests for base images, pinned by tag and digest, whose tag names another image by now.')
      .prefault({}),
    audit: z
      .strictObject({
        enabled: z
          .boolean()
          .describe('Whether it is made by schedule; it can be asked for at any time (`slipway audit`).')
          .default(true),
        ...occasions('0 7 1 * *', '7d'),
      })
      .describe('A report of who did and decided what since the last one, kept as JSON and Markdown.')
      .prefault({}),
  })
  .describe('What is done by schedule for this project.')
  .prefault({});
