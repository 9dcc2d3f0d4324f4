import { z } from 'zod';
import { Name } from '../scalars.ts';

const Docker = z
  .strictObject({
    kind: z.literal('docker').describe('Containers of one Docker engine.'),
    name: Name.describe(
      'Names containers and the lock that keeps two changes apart. Default: the name of the project and the environment.',
    ).exactOptional(),
    socket: z
      .string()
      .startsWith('/')
      .describe("The engine's socket. Default: the worker's own engine.")
      .exactOptional(),
    network: z.string().min(1).describe("Network that containers join. Default: the engine's bridge.").exactOptional(),
    publishAddress: z
      .string()
      .min(1)
      .describe('Address that the ports of the slots listen on; the router reaches them there.')
      .default('127.0.0.1'),
  })
  .meta({ title: 'docker' });

/** Where a release runs. */
export const Target = z.discriminatedUnion('kind', [Docker]);
