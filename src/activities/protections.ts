import type { ProjectDefinition } from '../definition/project.ts';
import type { ProtectionReading, WantedProtection } from '../domain/branch-protection.ts';
import { ProviderError, describeFailure } from '../domain/failures.ts';
import { forgeNames } from '../domain/forge-names.ts';
import { branchProtections, isProtectionKind } from '../providers/branch-protections/index.ts';
import { forgeApiOf } from './forges.ts';
import type { ReadSecret } from './secrets.ts';

/** Of one request, ms. */
const requestTimeoutMs = 2_500;
/** For all of them: what comes later is not waited for, so that a forge that is slow delays a plan and does not keep it from being made, ms. */
const patienceMs = 4_000;

/** Reads how the forge of a project protects its branches. Never fails: what could not be read is errored in the gate. */
export type ReadProtections = (project: ProjectDefinition) => Promise<readonly ProtectionReading[] | undefined>;

/** What a project wants of its branches; undefined where it wants nothing. */
export function wantedProtections(project: ProjectDefinition): readonly WantedProtection[] | undefined {
  const { protection, releaseBranch } = project.repository;
  if (protection === undefined) return undefined;
  const check = forgeNames(project.project, forgeApiOf(project)?.sole ?? false).required;
  const { approvals, upToDate, dismissStale, administrators, development } = protection;
  return [
    {
      branch: releaseBranch,
      check,
      approvals,
      upToDate,
      dismissesStale: dismissStale,
      administrators: administrators === 'included',
      onlyAdministratorsPush: true,
    },
    // S3-38 asks for a pull request and its checks there, and for nothing more.
    ...(development === undefined || development === releaseBranch
      ? []
      : [
          {
            branch: development,
            check,
            approvals: 0,
            ...{ upToDate: false, dismissesStale: false, administrators: false, onlyAdministratorsPush: false },
          },
        ]),
  ];
}

export function createProtections(readSecret: ReadSecret): ReadProtections {
  return async (project) => {
    const wanted = wantedProtections(project);
    if (wanted === undefined) return undefined;
    return await Promise.all(wanted.map((one) => read(project, one, readSecret)));
  };
}

async function read(
  project: ProjectDefinition,
  wanted: WantedProtection,
  readSecret: ReadSecret,
): Promise<ProtectionReading> {
  const late = new AbortController();
  const over = AbortSignal.any([late.signal, AbortSignal.timeout(patienceMs)]);
  try {
    const place = forgeApiOf(project);
    if (place === undefined || !isProtectionKind(place.kind)) {
      return { wanted, refused: `the forge ${project.repository.forge.kind} cannot be asked for it` };
    }
    const { kind, url, repository, token } = place;
    const tooLate = new Promise<never>((_, reject) => {
      over.addEventListener('abort', () => {
        reject(new ProviderError('ForgeUnavailable', `${kind} took longer than ${patienceMs / 1_000} s`));
      });
    });
    const asked = (async () => {
      const reader = await branchProtections[kind]({
        token: await readSecret(token),
        repository,
        timeoutMs: requestTimeoutMs,
        ...(url === undefined ? {} : { url }),
      });
      return await reader.read(wanted.branch, wanted.check);
    })();
    return { wanted, found: await Promise.race([asked, tooLate]) };
  } catch (error) {
    return { wanted, refused: describeFailure(error).message };
  } finally {
    late.abort();
  }
}
