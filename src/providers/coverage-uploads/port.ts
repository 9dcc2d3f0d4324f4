/** A report as its tool wrote it. */
export interface CoverageReport {
  /** From the root of the repository. */
  readonly path: string;
  readonly content: Buffer;
}

/** The coverage of one run. */
export interface CoverageUpload {
  /** 40 hexadecimal digits. */
  readonly commit: string;
  /** Short name; absent for tags and pull requests, of which the service asks the forge. */
  readonly branch?: string;
  readonly pullRequest?: number;
  /** Which run of which project: `shop/12`. */
  readonly build: string;
  /** Page of the run. */
  readonly buildUrl?: string;
  /** At least one. */
  readonly reports: readonly CoverageReport[];
}

/** A verdict, for no run fails for it. */
export type CoverageAnswer =
  | { readonly kind: 'taken' }
  /** @property reason - without the token and without the address that the service gave to put the reports to. */
  | { readonly kind: 'failed'; readonly reason: string };

/** A service for coverage. The same again is one more upload of the same lines there, which changes no figure. */
export interface CoverageUploads {
  /**
   * Sends reports. Never throws for what the service does: 5xx, 408, 429 and connections that break are tried again.
   *
   * @param deadlineMs - for everything together.
   */
  upload(upload: CoverageUpload, deadlineMs: number): Promise<CoverageAnswer>;
}

export interface CoverageUploadOptions {
  /** Without a slash at the end. */
  readonly url: string;
  readonly token: string;
  /** The forge, as the service calls it. */
  readonly service: string;
  /** `team/app` */
  readonly repository: string;
  readonly flags: readonly string[];
  /** Of one request, ms. */
  readonly timeoutMs: number;
}

export type CreateCoverageUploads = (options: CoverageUploadOptions) => CoverageUploads;
