import type { PackageKind } from '../../domain/packages.ts';
import { npm } from './npm.ts';
import type { PackageUploadKind } from './port.ts';
import { python } from './python.ts';

/** Every kind of packages, by the name that definitions have for it. What one has read goes to an index that it has opened, and to no other. */
export const packageUploads: Readonly<Record<PackageKind, PackageUploadKind>> = { npm, python };
