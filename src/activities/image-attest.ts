import { access, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ProviderError } from '../domain/failures.ts';
import type { ImageScan } from '../domain/image-scan.ts';
import {
  type Provenance,
  type ProvenanceStep,
  type Statement,
  invocationOf,
  makeProvenance,
  runOf,
} from '../domain/provenance.ts';
import type { PublishedPackage } from '../domain/packages.ts';
import type { ImageReport, StageReport } from '../domain/run.ts';
import { withScratch } from '../effects/scratch-folder.ts';
import { publicUrl } from '../providers/repositories/git-command.ts';
import type { AttestationType, SignedImage, SigningKey } from '../providers/signers/port.ts';
import { type EvidenceFiles, evidenceFiles, evidenceKey } from './image-files.ts';
import type { ImageWork } from './image-work.ts';
import type { LogWriter } from './logs.ts';

/**
 * Nobody else attests meanwhile, but for an older Slipway, or a person with cosign: what is not there afterwards is written again, this often at most.
 * Judgement.
 */
const maxTries = 5;
/** With so many provenance statements of a digest, those of runs that are not kept go. All of them are read before each deployment. Judgement. */
const manyProvenances = 100;
/** With so many nothing more is attested: cosign 2 reads no image with more than 1,000 statements (`maxLayers`), lists and scan among them. */
const tooManyProvenances = 900;

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
  const { deps, known, run, plan, registry, signal } = work;
  const { signing } = known.pipeline.supplyChain;
  if (signing === undefined) return [];
  const key: SigningKey = {
    privateKey: await deps.readSecret(signing.key),
    password: signing.password === undefined ? '' : await deps.readSecret(signing.password),
  };
  const subject: SignedImage = { registry, repository: image.repository, digest: image.digest };

  const attested = new Set(['signature']);
  // A list says which manifests it has, and nothing of what is in them; whoever takes one of them asks about that one.
  const platforms = image.evidence?.platforms ?? [];
  await withScratch('attest', async (folder) => {
    const attest = async (of: SignedImage, statements: readonly Wanted[]): Promise<void> => {
      const waiting = waitingFor(work, log);
      await deps.alone({ digest: of.digest, signal, waiting }, (alone) =>
        ensureAttested({ ...work, signal: alone }, of, key, statements),
      );
      for (const { type } of statements) attested.add(type);
    };
    for (const { platform, digest } of platforms) {
      const content = await contentOf(evidenceFiles(plan, image.name, platform), join(folder, digest.slice(-64)));
      await attest({ ...subject, digest }, content);
    }
    const provenance = await provenanceOf(work, image, { stages, packages });
    const predicateFile = join(folder, 'provenance.json');
    const words = JSON.stringify(provenance);
    await writeFile(predicateFile, words);
    // Beside the other evidence, for who has no cosign at hand.
    await deps.supplyChain.blobs.put(evidenceKey(run, image.name, 'provenance.json'), Buffer.from(words));
    const { invocationId } = provenance.runDetails.metadata;
    await attest(subject, [
      ...(await contentOf(evidenceFiles(plan, image.name), folder)),
      // Beside those of other runs, for the image may belong to several; once a run.
      {
        type: 'provenance',
        predicateFile,
        isThere: (statements) => statements.some((statement) => invocationOf(statement) === invocationId),
      },
    ]);
  });
  const of = platforms.length === 0 ? '' : `, of ${platforms.map(({ platform }) => platform).join(' and ')}`;
  log.say(`signed and attested: ${[...attested].join(', ')}${of}`);
  return [...attested];
}

/** A statement that is to be there. */
interface Wanted {
  readonly type: AttestationType;
  readonly predicateFile: string;
  /**
   * Whether it is among those of its type. Absent: there is one truth at a time, which takes the place of what is there, so its type is enough. Lists
   * are not read back: with one of a large image cosign would say more than a worker should hold.
   */
  readonly isThere?: (statements: readonly Statement[]) => boolean;
}

/** Told again and again while somebody else has the image, and said once. */
function waitingFor({ moved }: ImageWork, log: LogWriter): (why: string) => void {
  let isSaid = false;
  return (why) => {
    if (!isSaid) log.say(`${why}: the signature waits`);
    isSaid = true;
    moved();
  };
}

/** What is in one image and what was found in it, as far as there are files about that. */
async function contentOf(files: EvidenceFiles, folder: string): Promise<readonly Wanted[]> {
  const wanted: Wanted[] = [];
  const add = (type: AttestationType, predicateFile: string): void => void wanted.push({ type, predicateFile });
  if (await isThere(files.spdx)) add('spdx', files.spdx);
  if (await isThere(files.cyclonedx)) add('cyclonedx', files.cyclonedx);
  if (await isThere(files.scan)) {
    const scan = JSON.parse(await readFile(files.scan, 'utf8')) as ImageScan;
    await mkdir(folder, { recursive: true });
    const predicateFile = join(folder, 'scan.json');
    await writeFile(predicateFile, JSON.stringify(scanPredicate(scan)));
    add('scan', predicateFile);
  }
  return wanted;
}

/** Signs and attests, and looks after the last write whether all of it is there. */
async function ensureAttested(
  work: ImageWork,
  subject: SignedImage,
  key: SigningKey,
  wanted: readonly Wanted[],
): Promise<void> {
  const { deps, known, signal, moved } = work;
  const { signer } = deps.supplyChain;
  const { trust } = known.pair.project.images;

  async function missingOf(statements: readonly Wanted[]): Promise<readonly Wanted[]> {
    const missing: Wanted[] = [];
    const there = await signer.listAttested(subject, signal);
    for (const one of statements) {
      const { type, isThere: isAmong } = one;
      const isMissing = !there.has(type) || isAmong?.(await readStatements(work, subject, type)) === false;
      if (isMissing) missing.push(one);
    }
    return missing;
  }

  await signer.sign(subject, key, signal);
  moved();
  const replacing = wanted.filter((each) => each.isThere === undefined);
  const adding = wanted.filter((each) => each.isThere !== undefined);
  if (adding.length > 0) await forgetOldProvenance(work, subject);
  let missing: readonly Wanted[] = [...replacing, ...(trust.length === 0 ? adding : await missingOf(adding))];
  for (let tries = 1; tries <= maxTries; tries += 1) {
    for (const one of missing) {
      const { type, predicateFile } = one;
      await signer.attest(subject, key, { type, predicateFile, replace: one.isThere === undefined }, signal);
      moved();
    }
    if (trust.length === 0) return;
    missing = await missingOf(wanted);
    if (missing.length === 0) return;
  }
  const why = missing.every((each) => each.isThere === undefined)
    ? `${missing.map(({ type }) => type).join(' and ')} was gone each time: does somebody else attest it too?`
    : 'no key of `images.trust` says so: does the private key belong to one of them?';
  throw new ProviderError(
    'SignerFailed',
    `${subject.repository}@${subject.digest} was attested ${maxTries} times, and ${why}`,
    { nonRetryable: true },
  );
}

/** None where nothing is there yet, or nothing of ours. */
async function readStatements(
  { deps, known, signal }: ImageWork,
  subject: SignedImage,
  type: AttestationType,
): Promise<readonly Statement[]> {
  try {
    return await deps.supplyChain.signer.readAttestations(subject, known.pair.project.images.trust, type, signal);
  } catch (error) {
    const refusal = error instanceof ProviderError ? error.type : undefined;
    if (refusal === 'ImageNotSigned' || refusal === 'AttestationInvalid') return [];
    throw error;
  }
}

/**
 * Every run that takes an image adds its provenance, for a release is verified by that of its own commit. So what belongs to runs of this project that
 * are not kept goes, once there are many; of other projects, and what is none of ours, everything stays.
 *
 * @throws `SignerFailed` (not retried): there are too many of others.
 */
async function forgetOldProvenance(
  { deps, known, run, signal, moved }: ImageWork,
  subject: SignedImage,
): Promise<void> {
  const { runs } = known.pair.project.retention;
  // Without the store nobody knows what is kept, and everything is.
  const kept = await deps.keptRuns(run.project, runs).catch(() => undefined);
  const left = await deps.supplyChain.signer.forget(
    subject,
    {
      type: 'provenance',
      atLeast: manyProvenances,
      isNeeded: (statement) => {
        const made = runOf(statement);
        return (
          kept === undefined || made?.project !== run.project || made.number >= run.number || kept.includes(made.number)
        );
      },
    },
    { signal, moved },
  );
  moved();
  if (left < tooManyProvenances) return;
  throw new ProviderError(
    'SignerFailed',
    `${subject.repository}@${subject.digest} has ${left} statements about where it comes from, and cosign reads at most 1,000: keep fewer runs (\`retention.runs\`), or give each project a registry prefix of its own`,
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
