import { ProviderError } from '../domain/failures.ts';
import { allowsImage } from '../domain/image-scan.ts';
import { type Statement, provenanceProblem } from '../domain/provenance.ts';
import type { ReleaseImage } from '../domain/release.ts';
import type { ImageEvidence } from '../domain/run.ts';
import type { ReadRegistry } from '../providers/registries/logins/index.ts';
import type { ImageSigner, SignedImage } from '../providers/signers/port.ts';
import type { Place } from './places.ts';

/** Looks whether images are what they are said to be, before they run. */
export interface ImageTrust {
  /**
   * Verifies signature and provenance of images of a release, as far as the environment demands it.
   *
   * @returns what was verified, one line an image; none where nothing is demanded.
   * @throws `ImageNotSigned`, `AttestationInvalid` (not retried): it must not run. `SignerFailed`, `RegistryUnavailable` (retried): could not find
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
  /** What is known of the images of a run, by their name. */
  readonly readEvidence: (project: string, run: number) => Promise<Readonly<Record<string, ImageEvidence>>>;
}

export function createImageTrust({ signer, readRegistry, readEvidence }: ImageTrustDependencies): ImageTrust {
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
      if (!demanded.requireSignature && !demanded.requireAttestation) return [];
      const address = await readRegistry(registry, signal);
      const lines: string[] = [];
      for (const { name, repository, digest } of images) {
        const image: SignedImage = { registry: address, repository, digest };
        if (demanded.requireSignature) await signer.verifySignature(image, demanded.keys, signal);
        if (demanded.requireAttestation) await verifyProvenance(place, image, signal);
        const what = [
          ...(demanded.requireSignature ? ['signed by a trusted key'] : []),
          ...(demanded.requireAttestation
            ? [`built by ${demanded.builder} from ${place.release.commit.slice(0, 7)}`]
            : []),
        ];
        lines.push(`image ${name}: ${what.join(', ')}`);
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
