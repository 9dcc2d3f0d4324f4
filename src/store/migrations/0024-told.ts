/**
 * What each run has told its forge, and of which commit: runs of one commit have the statuses of that commit in common. By kind, for a schedule makes
 * thousands of them on a quiet branch, and the newest of a kind first.
 */
export const told = `
alter table runs add column told_commit text;
alter table runs add column told jsonb;
create index runs_told on runs (project, told_commit, kind, number) where told_commit is not null;
`;
