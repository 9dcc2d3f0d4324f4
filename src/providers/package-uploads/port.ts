/** A file of a package, as what is in it says. */
export interface ReadPackage {
  /** Its name, without a folder. */
  readonly file: string;
  readonly content: Buffer;
  /** By its own metadata, and so is the version. */
  readonly name: string;
  readonly version: string;
  /** 64 hexadecimal digits. */
  readonly sha256: string;
  /** As an index of the kind names it: `sha512-…` at npm, `sha256:…` at Python. */
  readonly digest: string;
}

/** What an index says it holds under the name of a file. */
export interface HeldPackage {
  /** In the form of {@link ReadPackage.digest}. */
  readonly digest: string;
}

/** One index. What holds after an error: a question has changed nothing; an upload may be there, and asking tells. */
export interface PackageUploads<Read extends ReadPackage = ReadPackage> {
  /** Where people see the package. Without a name or password. */
  addressOf(read: Read): string;
  /**
   * Asks for the file of exactly this name and version.
   *
   * @returns undefined where the index has none.
   * @throws ProviderError `IndexRefused` (not retried): 401, 403, or an answer without a digest. `IndexUnavailable` (retried)
   */
  find(read: Read, signal: AbortSignal): Promise<HeldPackage | undefined>;
  /**
   * Uploads the bytes that were read. Never overwrites by itself; whether the index lets others do so is its own rule.
   *
   * @throws ProviderError `IndexRefused` (not retried): the login, the package, or that it is there. `IndexUnavailable` (retried): 408, 409, 425,
   *   429, 5xx, or the connection broke: it may be there
   */
  upload(read: Read, signal: AbortSignal): Promise<void>;
}

export interface PackageUploadOptions {
  /** What the project calls it; for messages. */
  readonly name: string;
  readonly url: string;
  /** Where an index of Python is asked. */
  readonly simple?: string;
  /** Of a package with a scope at npm. */
  readonly access: 'public' | 'restricted';
  readonly login?: IndexLogin;
  /** Of one question, and of one upload, ms. Defaults: 30 s and 5 min. Judgement. */
  readonly askTimeoutMs?: number;
  readonly uploadTimeoutMs?: number;
}

export type IndexLogin =
  | { readonly kind: 'token'; readonly token: string }
  | { readonly kind: 'password'; readonly username: string; readonly password: string };

/** One kind of packages: how a file of it is read, and how an index of it is spoken to. */
export interface PackageUploadKind<Read extends ReadPackage = ReadPackage> {
  /**
   * Reads what a file says it is. The file is hostile: nothing of it is unpacked, run or believed beyond its bounds.
   *
   * @throws ProviderError `PackageRefused` (not retried): no such package, or what is in it is not what its name says
   */
  read(file: string, content: Buffer, signal: AbortSignal): Promise<Read>;
  open(options: PackageUploadOptions): Promise<PackageUploads<Read>>;
}
