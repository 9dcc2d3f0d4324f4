import type { ScanSpec } from '../../definition/specs/supply-chain.ts';
import { createOsvScanner } from './osv-scanner.ts';
import type { ImageScanner } from './port.ts';
import { createTrivyScanner } from './trivy.ts';

type Create = (program: (signal?: AbortSignal) => Promise<string>) => ImageScanner;

/** All kinds of scanners there are. */
export const scanners = {
  'osv-scanner': createOsvScanner,
  trivy: createTrivyScanner,
} as const satisfies Record<ScanSpec['scanner'], Create>;
