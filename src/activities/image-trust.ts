import { ProviderError } from '../domain/failures.ts';
import { allowsImage } from '../domain/image-scan.ts';
import { type Statement, provenanceProblem } from '../domain/provenance.ts';
import type { ReleaseImage } from '../domain/release.ts';
import type { ImageEvidence, PlatformEvidence } from '../domain/run.ts';
import type { ReadRegistry } from '../providers/registries/logins/index.ts';
import type { ImageRegistry, RegistryAddress } from '../providers/registries/port.ts';
import type { ImageSigner, SignedImage } from '../providers/signers/port.ts';
import type { Place } from './places.ts';

type PlatformManifest = Pick<PlatformEvidence, 'platform' | 'digest'>;

/** Looks whether images are what they are said to be, before they run. */
export interface ImageTrust {
  /**
   * Verifies signature and provenance of images of a release, as far as the environment demands it. Of an image for several platforms both are of
   * its list, which is what is deployed; the one that the target takes must be in it, and signed too.
   *
   * @returns what was verified, one line an image; none where nothing is demanded.
   * @throws `ImageNotFound` (not retried): there is nothing in it for the platform of the target. `ImageNotSigned`, `AttestationInvalid` (not
   *   retried): it must not run. `SignerFailed`, `RegistryUnavailable` (retried): could not find
   *   out, so it must not run either.
   */
  verify(place: Place, images: readonly ReleaseImage[], signal?: AbortSignal): Promise<readonly string[]>;
  /**
   * What the scan of the run said, for environments that take it seriously.
   *
   * @throws `ImageVulnerable`, `ScanErrored` (not retried)
   */
  checkScans(place: Place): Promise<readonly string[]>;
}

export interface ImageTrustDependencies {
  readonly signer: ImageSigner;
  readonly readRegistry: ReadRegistry;
  readonly openManifests: (address: RegistryAddress) => Pick<ImageRegistry, 'readPlatforms'>;
  /** What is known of the images of a run, by their name. */
  readonly readEvidence: (project: string, run: number) => Promise<Readonly<Record<string, ImageEvidence>>>;
}

export function createImageTrust(deps: ImageTrustDependencies): ImageTrust {
  const { signer, readRegistry, readEvidence } = deps;

  /** What of a list the target takes; undefined where the image is no list. */
  async function partOf(
    place: Place,
    { name, digest }: ReleaseImage,
    listed: readonly PlatformManifest[],
    signal?: AbortSignal,
  ): Promise<PlatformManifest | undefined> {
    if (listed.every((each) => each.digest === digest)) return undefined;
    const wanted = await place.target.readPlatform(signal);
    const part = listed.find(({ platform }) => platform === wanted);
    if (part !== undefined) return part;
    const offered = listed.map(({ platform }) => platform);
    throw new ProviderError(
      'ImageNotFound',
      `${name} of ${place.release.version} has nothing for ${wanted}, which ${place.spec.name} runs on, only for ${offered.join(', ')}: add it to \`images[].platforms\` and build again`,
      { details: { image: name, wanted, offered } },
    );
  }

  /** By what the run that built them has written down. Without the store the engine finds out for itself, a moment later. */
  async function checkPlatforms(place: Place, images: readonly ReleaseImage[], signal?: AbortSignal): Promise<void> {
    const { project, build } = place.release;
    const evidence = await readEvidence(project, build).catch(() => undefined);
    for (const image of images) await partOf(place, image, evidence?.[image.name]?.platforms ?? [], signal);
  }

  async function verifyProvenance(place: Place, image: SignedImage, signal?: AbortSignal): Promise<void> {
    const { imageTrust: demanded, project } = place.spec;
    const statements = await signer.readAttestations(image, demanded.keys, 'provenance', signal);
    const { commit, definition } = place.release;
    const expected = { project, digest: image.digest, commit, definition, builder: demanded.builder };
    const problems = statements.map((statement: Statement) => provenanceProblem(statement, expected));
    // An image of equal inputs belongs to several releases, and each has a statement of its own.
    if (problems.includes(undefined)) return;
    // What is wrong with the one of this commit says more than that the others are of other commits.
    const own = statements.findIndex((statement) => JSON.stringify(statement.predicate).includes(commit));
    const told = problems[own] ?? problems.at(-1) ?? 'says nothing';
    throw new ProviderError(
      'AttestationInvalid',
      `${image.repository}@${image.digest} has provenance, but it ${told}`,
      { details: { repository: image.repository, digest: image.digest, problems } },
    );
  }

  return {
    async verify(place, images, signal) {
      const { imageTrust: demanded, registry } = place.spec;
      if (!demanded.requireSignature && !demanded.requireAttestation) {
        await checkPlatforms(place, images, signal);
        return [];
      }
      const address = await readRegistry(registry, signal);
      const manifests = deps.openManifests(address);
      const lines: string[] = [];
      for (const released of images) {
        const { name, repository, digest } = released;
        const image: SignedImage = { registry: address, repository, digest };
        // The list is counted over by its digest, so what it names is what was built.
        const part = await partOf(place, released, await manifests.readPlatforms(repository, digest, signal), signal);
        if (demanded.requireSignature) {
          await signer.verifySignature(image, demanded.keys, signal);
          if (part !== undefined)
            await signer.verifySignature({ ...image, digest: part.digest }, demanded.keys, signal);
        }
        if (demanded.requireAttestation) await verifyProvenance(place, image, signal);
        const what = [
          ...(demanded.requireSignature ? ['signed by a trusted key'] : []),
          ...(demanded.requireAttestation
            ? [`built by ${demanded.builder} from ${place.release.commit.slice(0, 7)}`]
            : []),
        ];
        lines.push(`image ${name}${part === undefined ? '' : ` for ${part.platform}`}: ${what.join(', ')}`);
      }
      return lines;
    },

    async checkScans(place) {
      const { imageTrust: demanded } = place.spec;
      if (demanded.scan === 'off') return [];
      const { project, build, images, version } = place.release;
      const evidence = await readEvidence(project, build);
      return images.map(({ name }) => {
        const scan = evidence[name]?.scan;
        const reason = scan?.reason ?? 'it was never scanned';
        if (!allowsImage(demanded.scan, scan)) {
          throw new ProviderError(
            scan?.verdict === 'failed' ? 'ImageVulnerable' : 'ScanErrored',
            `${place.spec.name} does not take ${name} of ${version}: ${reason}`,
            { details: { image: name, lastLines: scan?.lines ?? [] } },
          );
        }
        return `image ${name}: scan ${scan?.verdict ?? 'errored'}, ${reason}`;
      });
    },
  };
}
