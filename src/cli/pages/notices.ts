import { withoutControls } from '../../effects/control.ts';
import type { NoticeRow } from '../../store/notices.ts';
import { relative } from '../time.ts';
import type { Screen } from './screen.ts';

/** Of one channel; the API has all. */
const mostShown = 3;

/** What people should have been told and were not, by channel, the newest first. */
export function undeliveredList(found: readonly NoticeRow[], { paint, nowMs }: Screen): string {
  const channels = Map.groupBy(found, ({ project, channel }) => `${channel} of ${project}`);
  return [...channels]
    .flatMap(([channel, rows]) => {
      const tried = rows.some(({ retryAt }) => retryAt !== null) ? 'it is tried again' : 'it is not tried again';
      const why = rows[0]?.error ?? 'nobody knows why';
      return [
        `${paint.icon('bad')} ${paint.bold(`Not delivered by ${withoutControls(channel)}`)}: ${withoutControls(why)} (${tried})`,
        ...rows
          .slice(0, mostShown)
          .map(({ level, title, at }) => `    ${level} ${withoutControls(title)} ${paint.dim(relative(at, nowMs))}`),
        ...(rows.length > mostShown ? [`    and ${rows.length - mostShown} more`] : []),
      ];
    })
    .join('\n');
}
