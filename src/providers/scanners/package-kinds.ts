import { readFile } from 'node:fs/promises';
import { ProviderError } from '../../domain/failures.ts';
import type { NotLookedUp } from '../../domain/image-scan.ts';

/** A component of a bill of materials, as far as its package URL tells what it is. */
export interface Purl {
  /** `deb`, `npm`, `golang` … */
  readonly type: string;
  /** Of packages of a system: the distribution. */
  readonly namespace: string;
}

/** Types of package URLs that packages of a system have (github.com/package-url/purl-spec, PURL-TYPES). */
const systemTypes = ['deb', 'apk', 'rpm', 'alpm', 'portage', 'opkg'];

interface CycloneDx {
  readonly components?: readonly { readonly purl?: string }[];
}

/** Undefined for what has no package URL, such as a file or the system itself. */
export function purlOf({ purl }: { readonly purl?: string }): Purl | undefined {
  const [, type, namespace = ''] = /^pkg:([a-z.+-]+)\/(?:([^/@?#]+)\/)?/.exec(purl ?? '') ?? [];
  return type === undefined ? undefined : { type, namespace };
}

export function isOfSystem({ type }: Purl): boolean {
  return systemTypes.includes(type);
}

/** Packages that a scanner knows nothing of, counted by kind. */
export function countNotLookedUp(purls: readonly Purl[]): readonly NotLookedUp[] {
  const counted = new Map<string, NotLookedUp>();
  for (const purl of purls) {
    const kind = kindOf(purl);
    counted.set(kind, { kind, packages: (counted.get(kind)?.packages ?? 0) + 1, system: isOfSystem(purl) });
  }
  return [...counted.values()];
}

/** How people are told of a kind: `rpm/amzn`, `npm`. */
function kindOf(purl: Purl): string {
  return isOfSystem(purl) && purl.namespace !== '' ? `${purl.type}/${purl.namespace}` : purl.type;
}

/**
 * Reads the bill of materials of an image.
 *
 * @throws ProviderError `ScanErrored` (not retried) - it cannot be read.
 */
export async function readBill(file: string, image: string): Promise<CycloneDx> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as CycloneDx;
  } catch (cause) {
    throw new ProviderError('ScanErrored', `${image} could not be scanned: its bill of materials cannot be read`, {
      details: { image },
      cause,
    });
  }
}
