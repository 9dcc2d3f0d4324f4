/** An image that is taken again is looked for by its digest, at each build of it: what is in it need not be listed twice. */
export const imagesByDigest = `
create index images_by_digest on images (project, repository, digest, run);
`;
