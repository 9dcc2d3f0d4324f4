/** By kind, for a schedule makes thousands of runs of one commit on a quiet branch, and the newest of a kind first. */
export const toldByKind = `
drop index runs_told;
create index runs_told on runs (project, told_commit, kind, number) where told_commit is not null;
`;
