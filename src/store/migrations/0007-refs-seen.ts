/** What polling saw last of each branch and tag of a repository. */
export const refsSeen = `
create table refs_seen (
  project text not null references projects (name),
  ref text not null,
  value text not null,
  seen_at timestamptz not null default now(),
  primary key (project, ref)
);
`;
