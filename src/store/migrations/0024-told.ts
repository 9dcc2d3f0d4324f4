/** What each run has told its forge, and of which commit: runs of one commit have the statuses of that commit in common. */
export const told = `
alter table runs add column told_commit text;
alter table runs add column told jsonb;
create index runs_told on runs (project, told_commit) where told_commit is not null;
`;
