import { z } from 'zod';
import { type SbomMode as Mode, sbomModes, vulnerabilitySeverities } from '../../domain/image-scan.ts';
import { defaultTagTemplates, tagPlaceholders, unknownPlaceholders } from '../../domain/image-tags.ts';
import { Duration, Secret, Size, mustBe, quoted, sensitive } from '../scalars.ts';

const Tag = z
  .string({ error: mustBe('a tag such as `{branch}-{sha}`') })
  .min(1)
  .max(100)
  .superRefine((template, context) => {
    const [unknown] = unknownPlaceholders(template);
    if (unknown === undefined) return;
    const known = Object.keys(tagPlaceholders).map((name) => `{${name}}`);
    context.addIssue({
      code: 'custom',
      message: `names ${quoted(`{${unknown}}`)}, which stands for nothing; there are ${known.join(', ')}`,
    });
  });

const PublicKey = z
  .string({ error: mustBe('a public key in PEM') })
  .regex(/^\s*-----BEGIN PUBLIC KEY-----[\sA-Za-z0-9+/=]+-----END PUBLIC KEY-----\s*$/, {
    // Somebody may have put the private key here.
    error: (issue) => sensitive(issue, 'must be a public key in PEM: `-----BEGIN PUBLIC KEY-----` and so on'),
  });

/** Documents of an older Slipway say `true` and `false`. */
const SbomMode = z
  .union([z.enum(sbomModes), z.boolean()], {
    error: mustBe(`one of ${sbomModes.map((mode) => `\`${mode}\``).join(', ')}`),
  })
  .transform((value): Mode => (typeof value === 'string' ? value : value ? 'required' : 'off'));

const ScanModes = z.enum(['block', 'warn', 'off']);

const Exception = z.strictObject({
  id: z.string().min(1).max(100).describe('The advisory, by its id or another of its names.'),
  package: z.string().min(1).max(200).describe('Only in this package. Default: in any.').exactOptional(),
  reason: z.string().min(1).max(500).describe('Why it can be lived with; shown wherever it is made use of.'),
  until: z
    .string()
    .regex(/^\d{4}-\d{2}-\d{2}$/, { error: 'must be a day such as `2026-12-31`' })
    .describe('Last day it holds.'),
});

/** The images of a project: what they are called, what must be known of them, and by whom they are signed. */
export const Images = z.strictObject({
  tags: z
    .array(Tag)
    .min(1)
    .max(20)
    .describe(
      `Names of a pushed image, the identifying one first. ${Object.entries(tagPlaceholders)
        .map(([name, meaning]) => `\`{${name}}\`: ${meaning}`)
        .join(
          '; ',
        )}. What names a build or a version is never given to another image; \`latest\` only comes from the release branch.`,
    )
    .default([...defaultTagTemplates]),
  maxSize: Size.describe('A larger image is warned about. Judgement.').prefault('1Gi'),
  verify: z
    .enum(['digest', 'content'])
    .describe(
      'After the push: `digest` asks the registry for the digest, `content` fetches everything it names and counts it over.',
    )
    .default('digest'),
  sbom: SbomMode.describe(
    'A bill of materials of every image (SPDX and CycloneDX, by syft). `auto`: every worker makes one that has syft already; where none was made, the report and the plan say why. `required`: syft is built where it is not there, and an image of which no list can be made goes nowhere. `off`: only where images are scanned or their licences are judged. `true` and `false` are older words for `required` and `off`. Default: `auto`.',
  ).default('auto'),
  scan: z
    .strictObject({
      scanner: z
        .enum(['osv-scanner', 'trivy'])
        .describe('Reads the bill of materials, and never asks the network: the database lies on the worker.')
        .default('trivy'),
      database: z
        .string()
        .startsWith('/', { error: 'must be a folder of the worker, from the root' })
        .describe('Folder of the advisories: `<ecosystem>/all.zip` below `osv-scanner`, or the cache folder of trivy.'),
      maxAge: Duration.describe('Older advisories are an error, never a pass. Judgement.').prefault('48h'),
      severities: z
        .array(z.enum(vulnerabilitySeverities))
        .min(1)
        .describe('What counts. An advisory without a severity counts whenever `high` does.')
        .default(['high', 'critical']),
      mode: ScanModes.describe(
        '`block`: an image with such a finding, or of which nothing is known, goes nowhere. `warn`: it is shown with the plan.',
      ).default('warn'),
      exceptions: z.array(Exception).max(200).describe('Advisories that are lived with for a while.').default([]),
    })
    .describe('Looks for vulnerable packages before anything is pushed. Default: not done.')
    .exactOptional(),
  signing: z
    .strictObject({
      key: Secret.describe('Private key, as `cosign generate-key-pair` makes it.'),
      password: Secret.describe('Its password. Default: none.').exactOptional(),
    })
    .describe('Signs what is pushed and attests to it how it was built (SLSA), by cosign. Default: not done.')
    .exactOptional(),
  trust: z
    .array(PublicKey)
    .max(10)
    .describe('Public keys whose signature counts; two while a key is exchanged for another.')
    .default([]),
  builder: z
    .string()
    .regex(/^[a-z][a-z0-9+.-]*:[^\s]+$/, { error: 'must be a URI such as `https://ci.example.com/slipway`' })
    .describe('Who builds, as the provenance names it.')
    .default('urn:slipway:builder'),
  requireSignature: z.boolean().describe('Only what a trusted key has signed is deployed.').default(false),
  attestation: z
    .enum(['optional', 'required'])
    .describe(
      '`required`: only what a trusted key attests to have been built by this builder, from the commit and with the definition of the release, is deployed.',
    )
    .default('optional'),
});

/** The same for one environment, over what the project says. */
export const EnvironmentImages = z.strictObject({
  scan: ScanModes.describe('Default: the mode of the project.').exactOptional(),
  requireSignature: z.boolean().describe('Default: what the project says.').exactOptional(),
  attestation: z.enum(['optional', 'required']).describe('Default: what the project says.').exactOptional(),
});
