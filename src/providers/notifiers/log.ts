import type { NoticeLevel } from '../../domain/outcome.ts';
import { type Notifier, moodOf } from './port.ts';

/** The part of a logger that is used. */
export interface NoticeLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

const methods = { info: 'info', warning: 'warn', error: 'error', critical: 'error' } as const satisfies Record<
  NoticeLevel,
  keyof NoticeLog
>;

/** A question is no fault of the worker, but somebody should see it. */
const byMood = { 'good-news': 'info', question: 'warn' } as const;

/** The log of the worker. */
export function createLogNotifier(log: NoticeLog): Notifier {
  return {
    send(message) {
      const { event, level, project, environment, title, lines } = message;
      const mood = moodOf(event);
      const method = mood === 'other' ? methods[level] : byMood[mood];
      log[method]({ notice: event, level, project, environment, lines }, title);
      return Promise.resolve();
    },
  };
}
