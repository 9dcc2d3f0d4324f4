import { z } from 'zod';
import { ParameterName } from '../parameters.ts';
import { Duration, Name, quoted, mustBe } from '../scalars.ts';

/** Five fields of numbers, names, lists, ranges and steps. Temporal understands them, and computes them in the time zone. */
export const Cron = z
  .string({ error: mustBe('a cron expression such as `0 6 * * *`') })
  .regex(
    /^(?:(?:\*|[\dA-Za-z]+(?:-[\dA-Za-z]+)?)(?:\/\d+)?(?:,(?:\*|[\dA-Za-z]+(?:-[\dA-Za-z]+)?)(?:\/\d+)?)*(?: (?=\S)|$)){5}$/,
    {
      error: (issue) =>
        `${quoted(issue.input)} is no cron expression; write minute, hour, day, month and weekday, such as \`0 6 * * *\``,
    },
  );

export const TimeZone = z.string().refine(isTimeZone, {
  error: (issue) => `${quoted(issue.input)} is no time zone; write \`Europe/Berlin\` or \`UTC\``,
});

/** Runs at moments, without anybody's push. */
export const Schedule = z.strictObject({
  name: Name.describe('Unique; it stands in the id of the schedule and as the author of its runs.'),
  cron: Cron.describe('When: minute, hour, day of the month, month, day of the week.'),
  timeZone: TimeZone.describe('Of `cron`. Default: that of the calendar.').exactOptional(),
  branch: z
    .string()
    .min(1)
    .max(200)
    .describe('Whose newest commit is run. Default: the release branch.')
    .exactOptional(),
  catchUp: Duration.describe(
    'How late one is still begun that Temporal was not there for; the others are left out.',
  ).prefault('1h'),
  parameters: z
    .record(ParameterName, z.union([z.string(), z.number(), z.boolean()]).transform(String))
    .describe('Of its runs.')
    .default({}),
});

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
