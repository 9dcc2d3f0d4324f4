import { ProviderError } from '../../domain/failures.ts';
import type { NoticeLevel } from '../../domain/outcome.ts';
import type { Message } from '../../domain/notice.ts';
import { type Notifier, moodOf } from './port.ts';

export interface SlackOptions {
  /** Address of the incoming webhook. It is a secret and is repeated nowhere. */
  readonly url: string;
}

const marks: Readonly<Record<NoticeLevel, string>> = {
  info: ':information_source:',
  warning: ':warning:',
  error: ':red_circle:',
  critical: ':rotating_light:',
};

const markOfMood = { 'good-news': ':white_check_mark:', question: ':raised_hand:' } as const;

// Slack refuses a message that is longer.
const longestHeader = 150;
const longestSection = 3000;

/** An incoming webhook of Slack, or of what takes the same message (Mattermost, Rocket.Chat, Discord's `/slack`). */
export function createSlackNotifier({ url }: SlackOptions): Notifier {
  return {
    async send(message, { signal }) {
      let response: Response;
      try {
        response = await fetch(url, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify(slackMessage(message)),
          signal,
          redirect: 'error',
        });
      } catch (error) {
        const name = (error as { readonly name?: unknown }).name;
        const why = name === 'TimeoutError' || name === 'AbortError' ? 'did not answer in time' : 'cannot be reached';
        throw new ProviderError('NotifierFailed', `The Slack webhook ${why}.`);
      }
      const answer = await response.text().catch(() => '');
      if (!response.ok) {
        throw new ProviderError(
          'NotifierFailed',
          `The Slack webhook answered ${response.status}: ${answer.slice(0, 200)}`,
          // 4xx says that the message or the address is wrong; the same again will be too, but for 429.
          { nonRetryable: response.status < 500 && response.status !== 429 },
        );
      }
    },
  };
}

/** The message in Slack's form; `text` is what a notification shows, and all that simpler receivers understand. */
export function slackMessage(message: Message): Readonly<Record<string, unknown>> {
  const mood = moodOf(message.event);
  const mark = mood === 'other' ? marks[message.level] : markOfMood[mood];
  const body = message.lines.map(escape).join('\n').slice(0, longestSection);
  return {
    text: `${mark} ${escape(message.title)}`,
    blocks: [
      {
        type: 'header',
        text: {
          type: 'plain_text',
          text: `${mark} ${message.title}`.slice(0, longestHeader),
          emoji: true,
        },
      },
      ...(body === '' ? [] : [{ type: 'section', text: { type: 'mrkdwn', text: body } }]),
      {
        type: 'context',
        elements: [
          {
            type: 'mrkdwn',
            text: escape(
              [message.project, message.environment, message.event].filter((part) => part !== undefined).join(' · '),
            ),
          },
        ],
      },
    ],
  };
}

/** Else a commit message could mention everybody, or hide a link behind a text. */
function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
