/** When the backup of an environment was last proved, and how long that took: the next plan says so, whichever worker makes it. */
export const proofs = `
alter table environments add column proved_at timestamptz;
alter table environments add column proof_ms bigint;
`;
