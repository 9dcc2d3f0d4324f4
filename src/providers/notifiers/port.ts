import type { Message, NoticeEvent } from '../../domain/notice.ts';

const goodNews: readonly NoticeEvent[] = [
  'tests-passed',
  'build-succeeded',
  'run-succeeded',
  'staging-deployed',
  'production-deployed',
];

/**
 * How a message is meant: a high level says how many should hear, not that something is wrong. `question`: it waits for somebody's word;
 * `other`: as grave as its level says.
 */
export function moodOf(event: NoticeEvent): 'good-news' | 'question' | 'other' {
  if (event === 'approval-requested') return 'question';
  return goodNews.includes(event) ? 'good-news' : 'other';
}

/** A way to people. */
export interface Notifier {
  /**
   * Sends one message. After an error it may have arrived all the same.
   *
   * @throws ProviderError `NotifierFailed` (retried): refused, or no answer in time
   */
  send(message: Message, options: { readonly signal: AbortSignal }): Promise<void>;
}
