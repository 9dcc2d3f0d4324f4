import { access, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ProviderError } from '../domain/failures.ts';
import type { ImageScan } from '../domain/image-scan.ts';
import { type Provenance, type ProvenanceStep, invocationOf, makeProvenance } from '../domain/provenance.ts';
import type { PublishedPackage } from '../domain/packages.ts';
import type { ImageReport, StageReport } from '../domain/run.ts';
import { withScratch } from '../effects/scratch-folder.ts';
import { publicUrl } from '../providers/repositories/git-command.ts';
import type { AttestationType, SignedImage, SigningKey } from '../providers/signers/port.ts';
import { type EvidenceFiles, evidenceFiles, evidenceKey } from './image-files.ts';
import type { ImageWork } from './image-work.ts';
import type { LogWriter } from './logs.ts';

/**
 * Statements about one digest lie in one manifest that is read, added to and written again; where two runs of equal inputs do so at once, one may
 * overwrite the other. So it is looked whether ours is there, this often at most. Judgement.
 */
const maxTries = 5;

/** What else a run has done, for the provenance of its images: how its stages went, and what it published. */
export interface Made {
  readonly stages: readonly StageReport[];
  readonly packages: readonly PublishedPackage[];
}

/**
 * Signs a pushed image and attests to what is in it and how it came to be. Nothing happens where the project has no key.
 *
 * @returns what was attested.
 * @throws `SignerFailed`, `RegistryUnavailable` (retried), `RegistryRefused` (not retried)
 */
export async function attestImage(
  work: ImageWork,
  image: ImageReport,
  { stages, packages }: Made,
  log: LogWriter,
): Promise<readonly string[]> {
  const { deps, known, run, plan, registry, signal, moved } = work;
  const { signing } = known.pipeline.supplyChain;
  if (signing === undefined) return [];
  const { signer } = deps.supplyChain;
  const key: SigningKey = {
    privateKey: await deps.readSecret(signing.key),
    password: signing.password === undefined ? '' : await deps.readSecret(signing.password),
  };
  const subject: SignedImage = { registry, repository: image.repository, digest: image.digest };

  await signer.sign(subject, key, signal);
  moved();
  const attested = new Set(['signature']);
  // A list says which manifests it has, and nothing of what is in them; whoever takes one of them asks about that one.
  const platforms = image.evidence?.platforms ?? [];
  for (const { platform, digest } of platforms) {
    const one: SignedImage = { ...subject, digest };
    await signer.sign(one, key, signal);
    moved();
    for (const type of await attestContent(work, one, key, evidenceFiles(plan, image.name, platform))) {
      attested.add(type);
    }
  }
  for (const type of await attestContent(work, subject, key, evidenceFiles(plan, image.name))) attested.add(type);
  await withScratch('attest', async (folder) => {
    const provenance = await provenanceOf(work, image, { stages, packages });
    const predicateFile = join(folder, 'provenance.json');
    const words = JSON.stringify(provenance);
    await writeFile(predicateFile, words);
    // Beside the other evidence, for who has no cosign at hand.
    await deps.supplyChain.blobs.put(evidenceKey(run, image.name, 'provenance.json'), Buffer.from(words));
    await attestProvenance(work, subject, key, { provenance, predicateFile });
    attested.add('provenance');
  });
  const of = platforms.length === 0 ? '' : `, of ${platforms.map(({ platform }) => platform).join(' and ')}`;
  log.say(`signed and attested: ${[...attested].join(', ')}${of}`);
  return [...attested];
}

/**
 * What is in one image and what was found in it, as far as there are files about that.
 *
 * @returns what was attested.
 */
async function attestContent(
  { deps, signal, moved }: ImageWork,
  subject: SignedImage,
  key: SigningKey,
  files: EvidenceFiles,
): Promise<readonly string[]> {
  const { signer } = deps.supplyChain;
  const attested: string[] = [];
  const lists: readonly (readonly [AttestationType, string])[] = [
    ['spdx', files.spdx],
    ['cyclonedx', files.cyclonedx],
  ];
  for (const [type, predicateFile] of lists) {
    if (!(await isThere(predicateFile))) continue;
    await signer.attest(subject, key, { type, predicateFile, replace: true }, signal);
    attested.push(type);
    moved();
  }
  if (!(await isThere(files.scan))) return attested;
  await withScratch('attest', async (folder) => {
    const predicateFile = join(folder, 'scan.json');
    const scan = JSON.parse(await readFile(files.scan, 'utf8')) as ImageScan;
    await writeFile(predicateFile, JSON.stringify(scanPredicate(scan)));
    await signer.attest(subject, key, { type: 'scan', predicateFile, replace: true }, signal);
    attested.push('scan');
    moved();
  });
  return attested;
}

/** Beside those of other runs, for the image may belong to several; once a run. */
async function attestProvenance(
  { deps, known, signal, moved }: ImageWork,
  subject: SignedImage,
  key: SigningKey,
  { provenance, predicateFile }: { readonly provenance: Provenance; readonly predicateFile: string },
): Promise<void> {
  const { signer } = deps.supplyChain;
  const { trust } = known.pair.project.images;
  const { invocationId } = provenance.runDetails.metadata;

  async function isAttested(): Promise<boolean> {
    try {
      const statements = await signer.readAttestations(subject, trust, 'provenance', signal);
      return statements.some((statement) => invocationOf(statement) === invocationId);
    } catch (error) {
      // Nothing is there yet, or nothing of ours.
      const type = error instanceof ProviderError ? error.type : undefined;
      if (type === 'ImageNotSigned' || type === 'AttestationInvalid') return false;
      throw error;
    }
  }

  if (trust.length > 0 && (await isAttested())) return;
  for (let tries = 1; tries <= maxTries; tries += 1) {
    await signer.attest(subject, key, { type: 'provenance', predicateFile, replace: false }, signal);
    moved();
    if (trust.length === 0 || (await isAttested())) return;
  }
  throw new ProviderError(
    'SignerFailed',
    `${subject.repository}@${subject.digest} was attested ${maxTries} times, and no key of \`images.trust\` says so: does the private key belong to one of them?`,
    { nonRetryable: true },
  );
}

async function provenanceOf({ deps, known, plan }: ImageWork, image: ImageReport, made: Made): Promise<Provenance> {
  const { builder } = known.pipeline.supplyChain;
  const { ref } = known.input.event;
  const scan = image.evidence?.scan;
  return makeProvenance({
    plan,
    ref,
    repository: publicUrl({ project: plan.run.project, url: known.pair.project.repository.url }),
    image,
    ...made,
    steps: await stepsOf({ deps, known }),
    builder: { id: builder, version: deps.supplyChain.version },
    ...(scan === undefined ? {} : { scan }),
    finishedAt: new Date().toISOString(),
  });
}

/** Every step, with the image it ran in as this engine has it. */
async function stepsOf({ deps, known }: Pick<ImageWork, 'deps' | 'known'>): Promise<readonly ProvenanceStep[]> {
  const digests = new Map<string, string | undefined>();
  const steps: ProvenanceStep[] = [];
  for (const stage of known.pipeline.stages) {
    for (const step of stage.steps) {
      if (step.executor === 'host') {
        steps.push({ stage: stage.name, name: step.name, executor: 'host' });
        continue;
      }
      if (!digests.has(step.image)) {
        const found = await deps.builder.inspect(step.image);
        digests.set(step.image, found?.digests[0]?.replace(/^.*@/, '') ?? found?.id);
      }
      const digest = digests.get(step.image);
      steps.push({
        stage: stage.name,
        name: step.name,
        executor: step.image,
        ...(digest === undefined ? {} : { digest }),
      });
    }
  }
  return steps;
}

/** In the form of cosign's `vuln`. @see https://github.com/sigstore/cosign/blob/main/specs/COSIGN_VULN_ATTESTATION_SPEC.md */
function scanPredicate(scan: ImageScan): object {
  return {
    invocation: { parameters: [], uri: '', event_id: '', 'builder.id': '' },
    scanner: {
      uri: scan.scanner.name,
      version: scan.scanner.version,
      db: { uri: '', version: scan.databaseAt },
      result: { packages: scan.packages, vulnerabilities: scan.vulnerabilities },
    },
    metadata: { scanStartedOn: scan.scannedAt, scanFinishedOn: scan.scannedAt },
  };
}

async function isThere(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
