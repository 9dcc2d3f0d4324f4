import type { SavedImage } from '../builders/port.ts';

/** A bill of materials in the two forms that readers expect; files in the folder that was given. */
export interface Sbom {
  /** Absolute path, SPDX 2 as JSON. */
  readonly spdx: string;
  /** Absolute path, CycloneDX as JSON. */
  readonly cyclonedx: string;
  /** Packages in it, whatever their kind. */
  readonly packages: number;
  readonly tool: { readonly name: string; readonly version: string };
}

/**
 * Lists what is in an image. Looks only, and may be repeated; after an error nothing is known.
 *
 * @throws `ToolMissing`, `ScanErrored` (not retried)
 */
export interface SbomMaker {
  /** Of the program, as people know it. */
  readonly name: string;
  /** Whether it can list at once; where it cannot, {@link SbomMaker.make} may first build it for minutes, or not find it. */
  isHere(): boolean;
  /**
   * What decides a list beside the image: the program, its version and the forms, in one word. Undefined where the program does not say which it is:
   * then a list of before says nothing of one made now.
   *
   * @throws `ToolMissing` (not retried)
   */
  readMethod(signal: AbortSignal): Promise<string | undefined>;
  make(request: {
    /** The image as files. */
    readonly image: Pick<SavedImage, 'form' | 'path'>;
    /** How the list names the image. */
    readonly name: string;
    readonly version: string;
    /** Where the lists go; absolute, there already. */
    readonly folder: string;
    readonly signal: AbortSignal;
  }): Promise<Sbom>;
  /**
   * Makes of a list that was made before, in its own files, what {@link SbomMaker.make} would make of the same image now: a document of its own, of the
   * version of now. When the image was looked into stays what it says of itself. No program is needed.
   *
   * @throws `ScanErrored` (not retried): it is no list, or not of that name; the files are of no use then
   */
  renew(request: {
    readonly list: Pick<Sbom, 'spdx' | 'cyclonedx'>;
    readonly name: string;
    readonly version: string;
  }): Promise<Sbom>;
}
