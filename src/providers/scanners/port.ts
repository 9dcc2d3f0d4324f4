import type { ImageScan } from '../../domain/image-scan.ts';
import type { Sbom } from '../sboms/port.ts';

export interface ScanRequest {
  /** How messages name the image. */
  readonly name: string;
  readonly sbom: Sbom;
  /** Folder of the advisories; absolute. */
  readonly database: string;
  /** Older advisories are an error. */
  readonly maxAgeMs: number;
  readonly now: Date;
  readonly signal: AbortSignal;
}

/**
 * Looks packages up in a database of advisories that lies on the worker; the network is never asked. Looks only, and may be repeated.
 *
 * A database that is missing, too old or lacks a kind of package that the image has is an error, for then nothing is known of those packages.
 *
 * @throws `ScanErrored`, `ToolMissing` (not retried)
 */
export interface ImageScanner {
  readonly name: string;
  scan(request: ScanRequest): Promise<ImageScan>;
}
