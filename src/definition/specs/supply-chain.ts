/** What must be known of images, when they are made and before they run somewhere. */
import type { SbomMode, ScanException, ScanMode, VulnerabilitySeverity } from '../../domain/image-scan.ts';
import type { SecretRef } from './secret.ts';

/** What must be known of the images of a project, and who says so. */
export interface SupplyChainSpec {
  /** Templates, the identifying one first (`domain/image-tags.ts`). */
  readonly tags: readonly string[];
  readonly maxSizeBytes: number;
  readonly verify: 'digest' | 'content';
  readonly sbom: SbomMode;
  /** Absent: images are not scanned. */
  readonly scan?: ScanSpec;
  /** Absent: images are not signed. */
  readonly signing?: { readonly key: SecretRef; readonly password?: SecretRef };
  readonly builder: string;
}

export interface ScanSpec {
  readonly scanner: 'osv-scanner' | 'trivy';
  /** Folder of the worker. */
  readonly database: string;
  readonly maxAgeMs: number;
  readonly severities: readonly VulnerabilitySeverity[];
  readonly exceptions: readonly ScanException[];
  /** Of a run that leads to no environment. */
  readonly mode: ScanMode;
  /** By environment. */
  readonly modes: Readonly<Record<string, ScanMode>>;
}

/** What must be known of an image before it runs in an environment. */
export interface ImageTrustSpec {
  /** `off` where the project does not scan at all. */
  readonly scan: ScanMode;
  /** By what a scan is judged; absent where the project does not scan at all. */
  readonly scans?: ScanSpec;
  /** The project signs and attests what it pushes. */
  readonly signs: boolean;
  readonly requireSignature: boolean;
  readonly requireAttestation: boolean;
  /** Public keys in PEM; the signature of any of them counts. */
  readonly keys: readonly string[];
  /** URI of the builder that provenance must name. */
  readonly builder: string;
}
