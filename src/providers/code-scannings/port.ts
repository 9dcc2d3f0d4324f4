import type { ForgeApiOptions } from '../forge-apis/port.ts';

/** One upload of findings. */
export interface ScanningUpload {
  /** 40 hexadecimal digits. */
  readonly commit: string;
  /** Full: `refs/heads/main`, `refs/pull/7/head`. */
  readonly ref: string;
  /** As {@link sarifOf} makes it. */
  readonly sarif: object;
}

/** `pending`: taken, and not worked through before the deadline. */
export type ScanningAnswer =
  | { readonly kind: 'complete' }
  | { readonly kind: 'pending' }
  | { readonly kind: 'failed'; readonly errors: readonly string[] };

/**
 * Code scanning of a forge. The same commit, ref and tool again is put in the place of what was there.
 *
 * Throws ProviderError `ForgeUnavailable` (retried): away, out of quota, or at fault; `ForgeRefused` (not retried): the token may not, code scanning
 * is off, or the findings are larger than the forge takes.
 */
export interface CodeScanning {
  /** @param deadline - how long the result is waited for, ms. */
  upload(upload: ScanningUpload, deadline: number): Promise<ScanningAnswer>;
}

export type CreateCodeScanning = (options: ForgeApiOptions) => Promise<CodeScanning>;
