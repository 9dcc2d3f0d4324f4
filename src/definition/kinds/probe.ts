import { z } from 'zod';
import { Duration, Name, UrlPath } from '../scalars.ts';

const shared = {
  name: Name.describe('Unique; shown in the health verdict.'),
  retries: z.number().int().min(0).max(100).describe('Tries after the first before the probe has failed.').default(3),
  interval: Duration.describe('Between two tries.').prefault('2s'),
  timeout: Duration.describe('Of one try.').prefault('5s'),
};
const through = z
  .enum(['slot', 'router', 'both'])
  .describe(
    '`slot`: before traffic moves, past the router. `router`: after it moved, the way users come. `both`: each at its time.',
  );

const Http = z
  .strictObject({
    kind: z.literal('http').describe('An HTTP request to the service.'),
    ...shared,
    path: UrlPath.describe('What is asked for.').default('/'),
    method: z.enum(['GET', 'HEAD']).describe('How it is asked for.').default('GET'),
    expectStatus: z.number().int().min(100).max(599).describe('Status that passes.').default(200),
    expectBody: z.string().min(1).max(1000).describe('Text that the body must contain.').exactOptional(),
    versionField: z
      .string()
      .min(1)
      .describe(
        'Field of the JSON body that must be the version of the release, so that nothing else answers in its place.',
      )
      .exactOptional(),
    through: through.default('both'),
  })
  .meta({ title: 'http' });

const Tcp = z
  .strictObject({
    kind: z.literal('tcp').describe('A connection to the port of the service.'),
    ...shared,
    through: through.default('slot'),
  })
  .meta({ title: 'tcp' });

const Container = z
  .strictObject({
    kind: z.literal('container').describe('The container runs, is healthy and was not started again.'),
    ...shared,
  })
  .meta({ title: 'container' });

/** One check of something alive. */
export const Probe = z.discriminatedUnion('kind', [Http, Tcp, Container]);
