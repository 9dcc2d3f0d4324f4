import { z } from 'zod';
import { Port } from '../scalars.ts';

const Haproxy = z
  .strictObject({
    kind: z.literal('haproxy').describe('HAProxy, with a rendered file as the truth.'),
    listen: z
      .strictObject({
        address: z
          .string()
          .min(1)
          .describe('Address that users reach. Default: only this machine.')
          .default('127.0.0.1'),
        port: Port.describe('Port that users reach.'),
      })
      .describe('Where users come in.'),
    slots: z
      .strictObject({
        blue: Port.describe('Published port of the blue slot.'),
        green: Port.describe('Published port of the green slot.'),
      })
      .describe(
        'Fixed published ports. Fixed, because the address of a container that starts again may be that of another one.',
      ),
  })
  .meta({ title: 'haproxy' });

/** What brings traffic to a release. */
export const Router = z.discriminatedUnion('kind', [Haproxy]);
