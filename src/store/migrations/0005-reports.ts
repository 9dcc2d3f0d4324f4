/** What the stages of runs showed: reports as they were read, findings, verdicts of gates, and pages. Only adds. */
export const reports = `
create table reports (
  project text not null,
  run integer not null,
  stage text not null,
  position integer not null,
  kind text not null,
  gate text not null,
  path text not null,
  state text not null,
  -- The report without its findings, which are rows of their own.
  content jsonb not null,
  primary key (project, run, stage, position)
);

create table findings (
  project text not null,
  run integer not null,
  stage text not null,
  report integer not null,
  position integer not null,
  rule text not null,
  severity text not null,
  message text not null,
  file text,
  line integer,
  component jsonb,
  fingerprint text not null,
  primary key (project, run, stage, report, position)
);
create index findings_by_fingerprint on findings (project, fingerprint, run);

create table gates (
  project text not null,
  run integer not null,
  stage text not null,
  gate text not null,
  mode text not null,
  verdict text not null,
  blocks boolean not null,
  reason text not null,
  verdict_document jsonb not null,
  primary key (project, run, stage, gate)
);

create table pages (
  project text not null,
  run integer not null,
  stage text not null,
  position integer not null,
  path text not null,
  prefix text not null,
  entry text not null,
  files integer not null,
  size_bytes bigint not null,
  primary key (project, run, stage, position)
);
`;
