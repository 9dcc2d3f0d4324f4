/** Machines that work for this installation, and what each round of upkeep found. */
export const upkeep = `
create table machines (
  queue text primary key,
  name text not null,
  seen_at timestamptz not null default now()
);
create table upkeep_rounds (
  id bigint generated always as identity primary key,
  kind text not null,
  subject text not null,
  project text,
  environment text,
  verdict text not null,
  summary text not null,
  lines jsonb not null,
  detail jsonb not null,
  at timestamptz not null default now()
);
create index upkeep_rounds_newest on upkeep_rounds (kind, subject, id desc);
create index upkeep_rounds_project on upkeep_rounds (project, id desc) where project is not null;
`;
