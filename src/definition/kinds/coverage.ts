import { z } from 'zod';
import { Secret } from '../scalars.ts';

/** Names that Codecov has for forges (the `git_service` of its uploader). */
const services = [
  'github',
  'gitlab',
  'bitbucket',
  'github_enterprise',
  'gitlab_enterprise',
  'bitbucket_server',
] as const;

/** Where reports of coverage go, beside the gate that judges them here. */
export const CoverageUpload = z
  .strictObject({
    kind: z.literal('codecov').describe('Codecov, hosted or your own.'),
    url: z
      .url({ protocol: /^https?$/, error: 'must be an address such as `https://codecov.example.com`' })
      .refine((url) => !/^[a-z]+:\/\/[^/]*@/i.test(url), { error: 'must hold no password; name it under `token`' })
      .transform((url) => url.replace(/\/+$/, ''))
      .describe("Of the API, for a Codecov of one's own.")
      .default('https://api.codecov.io'),
    service: z.enum(services).describe('The forge of the repository, as Codecov calls it.'),
    repository: z
      .string()
      .regex(/^[\w.~-]+(?:\/[\w.~-]+)+$/, { error: 'must be a path such as `team/app`' })
      .describe('Path of the repository there. Default: that of its address.')
      .exactOptional(),
    token: Secret.describe('Upload token of the repository or the organisation.'),
    flags: z
      .array(z.string().regex(/^[\w.-]{1,45}$/, { error: 'must be 1 to 45 letters, digits, `_`, `.` or `-`' }))
      .max(20)
      .describe('Flags that the upload has there.')
      .default([]),
  })
  .describe(
    'Uploads reports of coverage (`cobertura`, `lcov`, `coverage-py`) of every run. No run fails for it. Default: not uploaded.',
  )
  .exactOptional();
