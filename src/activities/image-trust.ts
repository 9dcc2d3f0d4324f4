import pLimit, { type LimitFunction } from 'p-limit';
import { ProviderError, describeFailure } from '../domain/failures.ts';
import { type ScanVerdict, allowsImage, erroredScan, isScanOld, judgeAgain } from '../domain/image-scan.ts';
import { type Statement, provenanceProblem } from '../domain/provenance.ts';
import type { ReleaseImage } from '../domain/release.ts';
import type { ImageEvidence, PlatformEvidence } from '../domain/run.ts';
import type { Verdict } from '../domain/verdict.ts';
import type { ReadRegistry } from '../providers/registries/logins/index.ts';
import type { BlobStore } from '../providers/blobs/port.ts';
import type { ImageRegistry, RegistryAddress } from '../providers/registries/port.ts';
import type { ImageSigner, SignedImage } from '../providers/signers/port.ts';
import { readKeptScan } from './kept-scans.ts';
import type { Place } from './places.ts';

/** Images that are looked at at once: each is two or three programs, one after the other. Judgement. */
const imagesAtOnce = 4;
/**
 * Longest that a plan waits for what is only told, of so many images together, ms. Judgement: of fifty, which a run may have, less than half of what a
 * plan may take.
 */
const toldMs = (images: number): number => 3_000 + 500 * Math.max(0, images - imagesAtOnce);
/** The same of what is demanded, ms. Judgement: of fifty within what a plan may take (`planMs`), of one as long as anything short. */
const demandedMs = (images: number): number => 7_000 + 900 * images;

/** What a plan says of one image. */
export interface ImageCheck {
  /** `scan of app`. */
  readonly name: string;
  readonly verdict: Verdict;
  /** As people read it. */
  readonly line: string;
  /** It is worth a look: neither do the checks of the run say it already, nor is it how the project is set up. */
  readonly news: boolean;
}

/** What is known of the scans of a release. */
export interface ScanChecks {
  readonly checks: readonly ImageCheck[];
  /** Images that should be looked up again before this is taken for the last word. */
  readonly due: readonly string[];
}

export interface ScanQuestion {
  /** Who asks has {@link ScanChecks.due} looked up again, and asks again: those stop nothing yet. */
  readonly renews?: boolean;
  /** Why images could not be looked up again, by their name. */
  readonly problems?: Readonly<Record<string, string>>;
  /** A way back: it goes by what was known when the image was built, and waits for no scanner; what is known since is told. */
  readonly back?: boolean;
}

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
   * The same, and what keys that the project trusts say where nothing is demanded: that only warns.
   *
   * @throws as {@link ImageTrust.verify}, for what is demanded; `RegistryUnavailable` (retried) where that takes too long. `ToolMissing` (not retried):
   *   the program is being built.
   */
  check(place: Place, images: readonly ReleaseImage[], signal?: AbortSignal): Promise<readonly ImageCheck[]>;
  /**
   * What is known of the images of a release by their newest scan, judged by the rules and the day of now: advisories may be too old by now, and
   * exceptions over.
   *
   * @throws `ImageVulnerable`, `ScanErrored` (not retried): the environment does not take it. `BlobsUnavailable` (retried): could not find out
   */
  checkScans(place: Place, question?: ScanQuestion): Promise<ScanChecks>;
}

export interface ImageTrustDependencies {
  readonly signer: ImageSigner;
  readonly readRegistry: ReadRegistry;
  readonly openManifests: (address: RegistryAddress) => Pick<ImageRegistry, 'readPlatforms'>;
  /** What is known of the images of a run, by their name. */
  readonly readEvidence: (project: string, run: number) => Promise<Readonly<Record<string, ImageEvidence>>>;
  /** What scans found, whole. */
  readonly blobs: Pick<BlobStore, 'read' | 'size'>;
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

  /** What nobody demands of an image and can be known by the keys that are trusted. */
  async function tell(
    place: Place,
    { name, repository, digest }: ReleaseImage,
    { signal, ms }: { readonly signal: AbortSignal; readonly ms: number },
  ): Promise<readonly ImageCheck[]> {
    const { keys, requireSignature, requireAttestation, signs, builder } = place.spec.imageTrust;
    const ask = async (
      what: string,
      yes: string,
      verify: (image: SignedImage) => Promise<void>,
    ): Promise<ImageCheck> => {
      const check = { name: `${what} of ${name}`, news: true };
      try {
        signal.throwIfAborted();
        const registry = await readRegistry(place.spec.registry, signal);
        await verify({ registry, repository, digest });
        return { ...check, verdict: 'passed', line: `image ${name}: ${yes}` };
      } catch (error) {
        const { type, message } = describeFailure(error);
        const isBad = type === 'ImageNotSigned' || type === 'AttestationInvalid';
        const why = signal.aborted ? `it took longer than ${ms / 1_000} s` : message;
        return {
          ...check,
          verdict: isBad ? 'failed' : 'errored',
          line: `image ${name}: ${what} ${isBad ? 'does not hold' : 'could not be verified'}, which ${place.spec.name} does not demand: ${why}`,
        };
      }
    };
    const checks: ImageCheck[] = [];
    if (!requireSignature) {
      checks.push(
        await ask('signature', 'signed by a trusted key', (image) => signer.verifySignature(image, keys, signal)),
      );
    }
    if (!requireAttestation && signs) {
      const yes = `built by ${builder} from ${place.release.commit.slice(0, 7)}`;
      checks.push(await ask('provenance', yes, (image) => verifyProvenance(place, image, signal)));
    }
    return checks;
  }

  /** Of those that could be looked at in time the verdicts, of the others that it took too long. */
  async function tellAll(
    place: Place,
    images: readonly ReleaseImage[],
    limit: LimitFunction,
    signal: AbortSignal,
  ): Promise<readonly ImageCheck[]> {
    const ms = toldMs(images.length);
    const within = { signal: withinMs(ms, signal), ms };
    return (await Promise.all(images.map((image) => limit(() => tell(place, image, within))))).flat();
  }

  async function verify(
    place: Place,
    images: readonly ReleaseImage[],
    signal?: AbortSignal,
    limit = pLimit(imagesAtOnce),
  ): Promise<readonly string[]> {
    const { imageTrust: demanded, registry } = place.spec;
    if (!isAnythingDemanded(place)) {
      await checkPlatforms(place, images, signal);
      return [];
    }
    const address = await readRegistry(registry, signal);
    const manifests = deps.openManifests(address);

    async function verifyOne(released: ReleaseImage, until: AbortSignal): Promise<string> {
      const { name, repository, digest } = released;
      const image: SignedImage = { registry: address, repository, digest };
      // The list is counted over by its digest, so what it names is what was built.
      const part = await partOf(place, released, await manifests.readPlatforms(repository, digest, until), until);
      if (demanded.requireSignature) {
        await signer.verifySignature(image, demanded.keys, until);
        if (part !== undefined) await signer.verifySignature({ ...image, digest: part.digest }, demanded.keys, until);
      }
      if (demanded.requireAttestation) await verifyProvenance(place, image, until);
      const what = [
        ...(demanded.requireSignature ? ['signed by a trusted key'] : []),
        ...(demanded.requireAttestation
          ? [`built by ${demanded.builder} from ${place.release.commit.slice(0, 7)}`]
          : []),
      ];
      return `image ${name}${part === undefined ? '' : ` for ${part.platform}`}: ${what.join(', ')}`;
    }

    // What is refused once is refused: the others are called off, and have ended when it is said.
    const refused = new AbortController();
    const until = signal === undefined ? refused.signal : AbortSignal.any([signal, refused.signal]);
    const settled = await Promise.allSettled(
      images.map((image) =>
        limit(async () => {
          until.throwIfAborted();
          return await verifyOne(image, until);
        }).catch((error: unknown) => {
          refused.abort(error);
          throw error;
        }),
      ),
    );
    if (until.aborted) throw until.reason;
    return settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  }

  /** By its newest scan, as of now. */
  async function judgeImage(
    place: Place,
    image: string,
    told: ScanVerdict | undefined,
    at: string,
  ): Promise<{ readonly scan: ScanVerdict; readonly due: boolean }> {
    const { scans: rules, scan: mode } = place.spec.imageTrust;
    const never = erroredScan('it was never scanned', at);
    if (rules === undefined) return { scan: told ?? never, due: false };
    const { project, build } = place.release;
    const kept = await readKeptScan(deps.blobs, { project, build, image });
    if (kept !== undefined) {
      return { scan: judgeAgain(kept, rules, at), due: isScanOld(kept, rules.maxAgeMs, at) };
    }
    // What could not be looked up an hour ago is tried again where it would stop the release.
    if (told === undefined || told.verdict === 'errored') return { scan: told ?? never, due: mode === 'block' };
    if (told.verdict === 'failed') return { scan: told, due: true };
    return { scan: erroredScan(`its scan of ${told.scannedAt} is not kept any more`, at), due: true };
  }

  return {
    verify,

    async check(place, images, signal) {
      const demands = isAnythingDemanded(place);
      // A plan does not wait for a compiler.
      if (demands) await signer.ready();
      const tells = isAnythingTold(place);
      const limit = (): LimitFunction => pLimit(demands && tells ? imagesAtOnce / 2 : imagesAtOnce);
      const ms = demandedMs(images.length);
      const within = withinMs(ms, signal);
      // What is told is told of a release that may go.
      const refused = new AbortController();
      const verifying = verify(place, images, within, limit()).catch((error: unknown) => {
        refused.abort(error);
        if (signal?.aborted === true || !within.aborted) throw error;
        const message = `what ${place.spec.name} demands of ${images.length} images took longer than ${ms / 1_000} s to verify`;
        throw new ProviderError('RegistryUnavailable', message, { cause: error });
      });
      const until = signal === undefined ? refused.signal : AbortSignal.any([signal, refused.signal]);
      const [verified, told] = await Promise.allSettled([
        verifying,
        tells ? tellAll(place, images, limit(), until) : [],
      ]);
      signal?.throwIfAborted();
      if (verified.status === 'rejected') throw verified.reason;
      if (told.status === 'rejected') throw told.reason;
      return [
        ...verified.value.map((line): ImageCheck => ({ name: 'signatures', verdict: 'passed', line, news: false })),
        ...told.value,
      ];
    },

    async checkScans(place, { renews = false, problems = {}, back = false } = {}) {
      const { scan: mode, scans: rules } = place.spec.imageTrust;
      const { project, build, images, version } = place.release;
      if (rules === undefined) {
        // What is only told is not worth a plan.
        const known = await readEvidence(project, build).catch((): Readonly<Record<string, ImageEvidence>> => ({}));
        const checks = images.flatMap(({ name }) => [...unlisted(name, known[name]), neverScanned(name)]);
        return { checks, due: [] };
      }
      const evidence = await readEvidence(project, build);
      const lists = images.flatMap(({ name }) => unlisted(name, evidence[name]));
      if (mode === 'off') return { checks: lists, due: [] };
      const at = new Date().toISOString();
      const checks: ImageCheck[] = [...lists];
      const waiting: string[] = [];
      for (const { name } of images) {
        const told = evidence[name]?.scan;
        const { scan, due } = await judgeImage(place, name, told, at);
        if (due && !back) waiting.push(name);
        const problem = problems[name];
        const reason =
          problem === undefined ? scan.reason : `${scan.reason}; looked up again it says nothing: ${problem}`;
        const stops = !allowsImage(mode, scan) && !(back && allowsImage(mode, told)) && !(due && renews);
        if (stops) {
          throw new ProviderError(
            scan.verdict === 'failed' ? 'ImageVulnerable' : 'ScanErrored',
            `${place.spec.name} does not take ${name} of ${version}: ${reason}`,
            { details: { image: name, lastLines: scan.lines } },
          );
        }
        const line = `image ${name}: scan ${scan.verdict}, ${reason}`;
        checks.push({ name: `scan of ${name}`, verdict: scan.verdict, line, news: scan.verdict !== told?.verdict });
      }
      return { checks, due: waiting };
    },
  };
}

function isAnythingDemanded({ spec: { imageTrust } }: Place): boolean {
  return imageTrust.requireSignature || imageTrust.requireAttestation;
}

function isAnythingTold({ spec: { imageTrust } }: Place): boolean {
  const { keys, requireSignature, requireAttestation, signs } = imageTrust;
  return keys.length > 0 && (!requireSignature || (!requireAttestation && signs));
}

function withinMs(ms: number, signal: AbortSignal | undefined): AbortSignal {
  const late = AbortSignal.timeout(ms);
  return signal === undefined ? late : AbortSignal.any([signal, late]);
}

/** What is in it was not found out, where the project has not said that it does not want to know. */
function unlisted(name: string, evidence: ImageEvidence | undefined): readonly ImageCheck[] {
  if (evidence?.unlisted === undefined) return [];
  const line = `image ${name}: no bill of materials: ${evidence.unlisted} (\`images.sbom\` of its project.yaml)`;
  return [{ name: `list of ${name}`, verdict: 'errored', line, news: false }];
}

/** Silence would be taken for a pass. */
function neverScanned(name: string): ImageCheck {
  const line = `image ${name}: scan errored, it was never scanned: the project names no scanner (\`images.scan\` of its project.yaml)`;
  return { name: `scan of ${name}`, verdict: 'errored', line, news: false };
}
