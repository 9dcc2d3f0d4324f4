/** What is known of how an image came to be: base images, bill of materials, scan. Null for runs of an older Slipway. */
export const imageEvidence = `
alter table images add column evidence jsonb;
`;
