import { z } from 'zod';
import { noticeEvents } from '../../domain/notice.ts';
import { Name, Secret } from '../scalars.ts';

const shared = {
  name: Name.describe('Default: its kind.').exactOptional(),
  level: z.enum(['info', 'warning', 'error', 'critical']).describe('Lowest level that goes here.').default('info'),
  events: z
    .array(z.enum(noticeEvents))
    .describe(
      'Only these events. Default: all but `tests-passed` and `build-succeeded`, which `run-succeeded` says too.',
    )
    .default([]),
  environments: z.array(Name).describe('Only these environments. Default: all, and runs.').default([]),
};

const Slack = z
  .strictObject({
    kind: z.literal('slack').describe('An incoming webhook of Slack, or of what takes the same message.'),
    url: Secret.describe('Address of the webhook; whoever has it can write to the channel.'),
    ...shared,
  })
  .meta({ title: 'slack' });

const Log = z
  .strictObject({ kind: z.literal('log').describe('The log of the worker.'), ...shared })
  .meta({ title: 'log' });

/** Where notices go. */
export const Notifier = z.discriminatedUnion('kind', [Slack, Log]);
