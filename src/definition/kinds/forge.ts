import { z } from 'zod';
import { Secret } from '../scalars.ts';

const Github = z
  .strictObject({
    kind: z.literal('github').describe('GitHub, or what speaks as it does.'),
    secrets: z
      .array(Secret)
      .min(1, { error: 'must have at least one secret: unsigned webhooks are refused' })
      .max(2, { error: 'must have at most two secrets: the present one, and the next while it is being changed' })
      .describe('Secrets of the webhook. Two are valid at once, so that one can be changed without losing a delivery.'),
  })
  .meta({ title: 'github' });

/** Where events come from. */
export const Forge = z.discriminatedUnion('kind', [Github]);
