/** Generated documentation that a run has left, as pages. */
export interface Documentation {
  readonly stage: string;
  /** Of the artifact. */
  readonly name: string;
  /** Path of the API that its first page is at. */
  readonly address: string;
}

/** Where its pages are; a page lies there as it does from the folder of the first one. */
export function documentationAddress(
  { project, run }: { readonly project: string; readonly run: number },
  { stage, name, entry }: { readonly stage: string; readonly name: string; readonly entry: string },
): string {
  const page = entry.slice(entry.lastIndexOf('/') + 1);
  return `/v1/projects/${project}/runs/${run}/documentation/${stage}/${name}/${page}`;
}
