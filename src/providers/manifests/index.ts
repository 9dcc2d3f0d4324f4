import { npmManifest } from './npm.ts';
import type { ManifestKind } from './port.ts';
import { pyprojectManifest } from './pyproject.ts';
import { requirementsManifest } from './requirements.ts';

/** Every form of manifest there is. */
export const manifestKinds = [
  npmManifest,
  requirementsManifest,
  pyprojectManifest,
] as const satisfies readonly ManifestKind[];
