import { counted } from './counted.ts';
import { type InfrastructureSummary, tellSummary } from './infrastructure.ts';
import type { MigrationRef } from './migration.ts';
import type { Risk } from './plan.ts';

/** What the risk of a deployment is made of. Shown with the plan, never part of its hash. */
export interface RiskInput {
  readonly filesChanged: number;
  readonly linesChanged: number;
  readonly migrations: readonly Pick<MigrationRef, 'name' | 'kind'>[];
  /** Checks that failed but only warn, by name. */
  readonly warnedChecks: readonly string[];
  /** Checks that could not be judged, by name. */
  readonly erroredChecks: readonly string[];
  /** The in-repository document differs from that of what is live. */
  readonly definitionChanged: boolean;
  readonly configurationKeys: readonly string[];
  /** When a deployment to this environment last failed or was rolled back, ISO 8601. */
  readonly lastFailureAt?: string;
  /** When it would go live, ISO 8601. */
  readonly at: string;
  /** IANA name of the zone of the people who would have to repair it. */
  readonly timeZone: string;
  /** `09:00` to `18:00`. */
  readonly workingHours: { readonly from: string; readonly to: string };
  readonly firstRelease: boolean;
  /** Why it should have been somewhere else before; absent when it was, or need not. */
  readonly notPromoted?: string;
  /** What the saved plan of the infrastructure would do; absent where there is none. */
  readonly infrastructure?: InfrastructureSummary;
  /** A database is backed up, and how much is free for that could not be seen. */
  readonly freeDiskUnknown: boolean;
}

const dayMs = 86_400_000;

/** Scores from which a risk is medium or high. Judgement, like every weight below: each factor alone is visible, two or three together make it high. */
const mediumFrom = 25;
const highFrom = 60;

/**
 * A simple sum of named factors, so that a person can see why. The strongest reason comes first.
 *
 * Nothing here forbids anything: hours and Fridays are a warning.
 */
export function assessRisk(input: RiskInput): Risk {
  const factors = [
    ...diffSize(input),
    ...migrations(input),
    ...checks(input),
    ...definition(input),
    ...infrastructure(input),
    ...recentFailure(input),
    ...disk(input),
    ...timeOfDay(input),
    ...(input.notPromoted === undefined ? [] : [{ points: 30, reason: input.notPromoted }]),
  ].sort((a, b) => b.points - a.points);
  const score = Math.min(
    100,
    factors.reduce((sum, { points }) => sum + points, 0),
  );
  return {
    level: score >= highFrom ? 'high' : score >= mediumFrom ? 'medium' : 'low',
    score,
    reasons: factors.map(({ reason }) => reason),
  };
}

interface Factor {
  readonly points: number;
  readonly reason: string;
}

function diffSize({ filesChanged, linesChanged, firstRelease }: RiskInput): readonly Factor[] {
  if (firstRelease) return [{ points: 20, reason: 'First release: there is nothing to go back to.' }];
  const size = `${counted(filesChanged, 'file')}, ${counted(linesChanged, 'line')} changed`;
  if (linesChanged > 1_000 || filesChanged > 50) return [{ points: 25, reason: `Large change: ${size}.` }];
  if (linesChanged > 200 || filesChanged > 15) return [{ points: 10, reason: `Medium change: ${size}.` }];
  return [];
}

function migrations({ migrations: pending }: RiskInput): readonly Factor[] {
  const contracting = pending.filter(({ kind }) => kind === 'contract').map(({ name }) => name);
  if (contracting.length > 0) {
    return [
      {
        points: 40,
        reason: `${contracting.join(', ')} breaks the previous release: after it there is no quick way back.`,
      },
    ];
  }
  if (pending.length === 0) return [];
  return [
    {
      points: 15,
      reason: `${counted(pending.length, 'migration')} of the database: ${pending.map(({ name }) => name).join(', ')}.`,
    },
  ];
}

function checks({ warnedChecks, erroredChecks }: RiskInput): readonly Factor[] {
  return [
    ...(erroredChecks.length === 0
      ? []
      : [
          {
            points: 20,
            reason: `${counted(erroredChecks.length, 'check')} could not be judged: ${erroredChecks.join(', ')}.`,
          },
        ]),
    ...(warnedChecks.length === 0
      ? []
      : [
          {
            points: Math.min(30, 10 * warnedChecks.length),
            reason: `${counted(warnedChecks.length, 'check')} failed and only warned: ${warnedChecks.join(', ')}.`,
          },
        ]),
  ];
}

function definition({ definitionChanged, configurationKeys }: RiskInput): readonly Factor[] {
  return [
    ...(definitionChanged
      ? [
          {
            points: 15,
            reason:
              'The definition changed: it is checked, built, migrated or probed in another way than what is live.',
          },
        ]
      : []),
    ...(configurationKeys.length === 0
      ? []
      : [
          {
            points: 10,
            reason: `${counted(configurationKeys.length, 'setting')} changed: ${configurationKeys.join(', ')}.`,
          },
        ]),
  ];
}

function infrastructure({ infrastructure: summary }: RiskInput): readonly Factor[] {
  if (summary === undefined) return [];
  const { counts, changes } = summary;
  const lost = counts.destroy + counts.replace;
  if (lost > 0) {
    const named = changes
      .filter(({ action }) => action === 'destroy' || action === 'replace')
      .map(({ address }) => address);
    const more = lost > named.length ? ` and ${lost - named.length} more` : '';
    return [
      {
        points: 40,
        reason: `${counted(lost, 'resource')} of the infrastructure would be destroyed or replaced, which nothing takes back: ${named.join(', ')}${more}.`,
      },
    ];
  }
  const changed = counts.create + counts.update + counts.forget;
  if (changed === 0) return [];
  return [
    { points: 10, reason: `The infrastructure changes, and is not taken back by a rollback: ${tellSummary(summary)}.` },
  ];
}

function recentFailure({ lastFailureAt, at }: RiskInput): readonly Factor[] {
  if (lastFailureAt === undefined) return [];
  const days = (Date.parse(at) - Date.parse(lastFailureAt)) / dayMs;
  if (!(days >= 0) || days > 7) return [];
  const when = days < 1 ? 'less than a day' : counted(Math.floor(days), 'day');
  return [{ points: days < 1 ? 25 : 15, reason: `The last failure here was ${when} ago.` }];
}

function disk({ freeDiskUnknown }: RiskInput): readonly Factor[] {
  if (!freeDiskUnknown) return [];
  return [
    {
      points: 10,
      reason: 'How much disk is free for the backup and its proof is not known: the worker sees none of their disks.',
    },
  ];
}

function timeOfDay({ at, timeZone, workingHours }: RiskInput): readonly Factor[] {
  const { weekday, minutes } = localTime(at, timeZone);
  const from = minutesOf(workingHours.from);
  const to = minutesOf(workingHours.to);
  if (weekday === 'Sat' || weekday === 'Sun') {
    return [{ points: 20, reason: `Weekend in ${timeZone}: fewer people are there to help.` }];
  }
  if (minutes < from || minutes >= to) {
    return [
      { points: 15, reason: `Outside of working hours (${workingHours.from} to ${workingHours.to}, ${timeZone}).` },
    ];
  }
  if (weekday === 'Fri' && minutes >= 13 * 60) {
    return [{ points: 15, reason: `Friday afternoon in ${timeZone}: what shows itself late meets the weekend.` }];
  }
  return [];
}

function localTime(at: string, timeZone: string): { readonly weekday: string; readonly minutes: number } {
  const parts = new Intl.DateTimeFormat('en-US', {
    timeZone,
    weekday: 'short',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  }).formatToParts(new Date(at));
  const part = (type: Intl.DateTimeFormatPartTypes): string => parts.find((one) => one.type === type)?.value ?? '';
  return { weekday: part('weekday'), minutes: Number(part('hour')) * 60 + Number(part('minute')) };
}

function minutesOf(time: string): number {
  const [hours = '0', minutes = '0'] = time.split(':');
  return Number(hours) * 60 + Number(minutes);
}
