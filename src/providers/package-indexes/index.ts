import type { Ecosystem } from '../../domain/dependency-update.ts';
import { npmIndex } from './npm.ts';
import type { PackageIndexKind } from './port.ts';
import { pythonIndex } from './python.ts';

/** Every kind of index there is, by its ecosystem. */
export const packageIndexes = {
  npm: npmIndex,
  python: pythonIndex,
} as const satisfies Readonly<Record<Ecosystem, PackageIndexKind>>;
