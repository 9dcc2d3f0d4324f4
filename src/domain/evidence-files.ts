/** Files that prove something of a run, as blobs: bills of materials, scans and statements of its images, reports of its stages, pages. */
/** A blob in a list. */
export interface SizedBlob {
  readonly key: string;
  readonly sizeBytes: number;
}

/** What a run keeps until it is forgotten; the number of the run follows. */
export const evidenceFolders = ['evidence', 'reports', 'pages'] as const;

/** One file about one image. */
export interface EvidenceFile {
  readonly image: string;
  /** `sbom.spdx.json`, `sbom.cdx.json`, `scan.json`, `scan-again.json` or `provenance.json`. */
  readonly file: string;
  readonly sizeBytes: number;
}

export function evidencePrefix(project: string, run: number): string {
  return `evidence/${project}/${run}`;
}

/** @param blobs - below {@link evidencePrefix}. */
export function evidenceFilesOf(project: string, run: number, blobs: readonly SizedBlob[]): readonly EvidenceFile[] {
  const prefix = `${evidencePrefix(project, run)}/`;
  return blobs
    .flatMap(({ key, sizeBytes }) => {
      const [image, file, ...deeper] = key.startsWith(prefix) ? key.slice(prefix.length).split('/') : [];
      return image === undefined || file === undefined || deeper.length > 0 ? [] : [{ image, file, sizeBytes }];
    })
    .sort((a, b) => (`${a.image}/${a.file}` < `${b.image}/${b.file}` ? -1 : 1));
}

/** Everything that one run keeps in one folder. */
export interface RunFolder {
  readonly run: number;
  /** Blobs of it begin with this and a slash. */
  readonly prefix: string;
  readonly sizeBytes: number;
}

/**
 * Folders of runs that are not kept, the oldest run first.
 *
 * @param kept - numbers of runs of which everything stays; read after the blobs were listed, so that a run that began since has none of them.
 */
export function foldersToForget(
  project: string,
  blobs: readonly SizedBlob[],
  kept: readonly number[],
): readonly RunFolder[] {
  const stays = new Set(kept);
  const folders = new Map<string, RunFolder>();
  for (const { key, sizeBytes } of blobs) {
    const [folder, of, number] = key.split('/');
    const run = Number(number);
    // What is not named so is not ours.
    if (folder === undefined || of !== project || !/^[1-9]\d*$/.test(number ?? '') || stays.has(run)) continue;
    const prefix = `${folder}/${project}/${run}`;
    folders.set(prefix, { run, prefix, sizeBytes: (folders.get(prefix)?.sizeBytes ?? 0) + sizeBytes });
  }
  return [...folders.values()].sort((a, b) => a.run - b.run || (a.prefix < b.prefix ? -1 : 1));
}
