/** The tables of the first version. Once released this text is never changed; what comes later is a migration of its own. */
export const first = `
create table projects (
  name text primary key,
  revision integer not null,
  -- The last number given to a run. Counted here, in the row's lock, so that numbers have no gaps: a sequence would leave some.
  last_run integer not null default 0,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create table project_revisions (
  project text not null references projects (name),
  revision integer not null,
  hash text not null,
  text text not null,
  diff text not null,
  by text not null,
  created_at timestamptz not null default now(),
  primary key (project, revision)
);

create table definitions (
  hash text primary key,
  text text not null,
  created_at timestamptz not null default now()
);

create table runs (
  id bigint generated always as identity primary key,
  project text not null references projects (name),
  number integer not null,
  key text not null,
  kind text not null,
  ref text not null,
  commit text not null,
  author text not null,
  message text,
  input jsonb not null,
  accepted_at timestamptz not null,
  -- When Temporal had the workflow; null is what the sweeper looks for.
  started_at timestamptz,
  phase text not null default 'accepted',
  plan jsonb,
  version text,
  definition text,
  outcome text,
  reason text,
  settled_at timestamptz,
  unique (project, key),
  unique (project, number)
);
create index runs_by_project on runs (project, id desc);
create index runs_to_start on runs (accepted_at) where started_at is null and outcome is null;
create index runs_open on runs (id) where outcome is null;
create index runs_by_outcome on runs (outcome, id desc);

create table deliveries (
  project text not null,
  id text not null,
  event text not null,
  run_key text,
  ignored text,
  received_at timestamptz not null default now(),
  primary key (project, id)
);
create index deliveries_by_age on deliveries (received_at);

create table stages (
  project text not null,
  run integer not null,
  name text not null,
  position integer not null,
  verdict text,
  detail text,
  started_at timestamptz not null,
  duration_ms bigint,
  primary key (project, run, name)
);

create table steps (
  project text not null,
  run integer not null,
  stage text not null,
  name text not null,
  position integer not null,
  verdict text,
  exit_code integer,
  detail text,
  started_at timestamptz not null,
  duration_ms bigint,
  primary key (project, run, stage, name)
);

create table images (
  project text not null,
  run integer not null,
  name text not null,
  repository text not null,
  digest text not null,
  tags jsonb not null,
  size_bytes bigint not null,
  reused boolean not null,
  duration_ms bigint not null,
  primary key (project, run, name)
);

create table builds (
  project text not null,
  key text not null,
  name text not null,
  repository text not null,
  digest text not null,
  size_bytes bigint not null default 0,
  created_at timestamptz not null default now(),
  used_at timestamptz not null default now(),
  primary key (project, key)
);
create index builds_by_name on builds (project, name, used_at desc);

create table releases (
  id bigint generated always as identity primary key,
  project text not null references projects (name),
  version text not null,
  build integer not null,
  commit text not null,
  images jsonb not null,
  definition text not null,
  migrations jsonb not null,
  run_key text,
  author text not null,
  created_at timestamptz not null default now(),
  unique (project, version)
);
create index releases_by_project on releases (project, id desc);

create table environments (
  project text not null references projects (name),
  name text not null,
  last_number integer not null default 0,
  live jsonb,
  previous jsonb,
  hold jsonb,
  updated_at timestamptz not null default now(),
  primary key (project, name)
);

create table deployments (
  id bigint generated always as identity primary key,
  project text not null,
  environment text not null,
  number integer not null,
  kind text not null,
  -- What makes asking twice the same request: the run, a request id, an idempotency key.
  request text not null,
  version text not null,
  run_key text,
  requested_by text not null,
  author text not null,
  priority text not null,
  requested_at timestamptz not null,
  input jsonb not null,
  -- Whose task it is to start the workflow: the run's own workflow, the environment's, or the API.
  started_by text not null,
  started_at timestamptz,
  phase text not null default 'planning',
  phase_detail text,
  phase_at timestamptz not null default now(),
  plan_hash text,
  outcome text,
  reason text,
  result jsonb,
  settled_at timestamptz,
  unique (project, environment, number),
  unique (project, environment, request),
  foreign key (project, environment) references environments (project, name)
);
create index deployments_by_environment on deployments (project, environment, id desc);
create index deployments_by_run on deployments (project, run_key) where run_key is not null;
create index deployments_open on deployments (id) where outcome is null;
create index deployments_by_outcome on deployments (outcome, id desc);

create table plans (
  project text not null,
  environment text not null,
  number integer not null,
  hash text not null,
  plan jsonb not null,
  planned_at timestamptz not null,
  primary key (project, environment, number, hash)
);

create table deployment_steps (
  project text not null,
  environment text not null,
  number integer not null,
  key text not null,
  name text not null,
  verdict text not null,
  detail text,
  started_at timestamptz not null,
  duration_ms bigint not null,
  primary key (project, environment, number, key)
);

create table decisions (
  id bigint generated always as identity primary key,
  project text not null,
  environment text not null,
  number integer not null,
  by text not null,
  verdict text not null,
  counted boolean not null,
  why text,
  plan text not null,
  comment text,
  proven boolean not null,
  at timestamptz not null,
  unique (project, environment, number, by, verdict, at)
);

create table rollbacks (
  project text not null,
  environment text not null,
  number integer not null,
  trigger text not null,
  to_version text,
  report jsonb not null,
  serving_after_ms bigint,
  total_ms bigint not null,
  at timestamptz not null,
  primary key (project, environment, number)
);

create table incidents (
  id text primary key,
  project text not null,
  environment text not null,
  number integer not null,
  trigger text not null,
  summary text not null,
  opened_at timestamptz not null,
  post_mortem_due_at timestamptz not null,
  closed_at timestamptz,
  unique (project, environment, number)
);
create index incidents_by_time on incidents (opened_at desc, id);

create table samples (
  project text not null,
  environment text not null,
  number integer not null,
  at timestamptz not null,
  figures jsonb not null,
  primary key (project, environment, number, at)
);

create table log_streams (
  log text primary key,
  project text not null,
  -- Null for a log of a deployment, which is named by environment and number.
  run integer,
  environment text,
  number integer,
  stage text not null,
  step text not null,
  attempt integer not null,
  opened_at timestamptz not null,
  closed_at timestamptz,
  -- What it is written to, from its first segment on; of this so many bytes can be read.
  blob text,
  size_bytes bigint not null default 0
);
create index log_streams_by_run on log_streams (project, run, opened_at) where run is not null;
create index log_streams_by_deployment on log_streams (project, environment, number, opened_at) where run is null;

create table log_segments (
  log text not null,
  sequence integer not null,
  blob text not null,
  -- Where in the whole log this segment begins.
  offset_bytes bigint not null,
  size_bytes bigint not null,
  at timestamptz not null,
  primary key (log, sequence)
);

create table tokens (
  id uuid primary key,
  name text not null,
  hash bytea not null unique,
  role text not null,
  groups jsonb not null,
  created_at timestamptz not null default now(),
  created_by text not null,
  expires_at timestamptz,
  revoked_at timestamptz
);

create table notices (
  key text not null,
  channel text not null,
  event text not null,
  level text not null,
  project text not null,
  environment text,
  title text not null,
  state text not null,
  error text,
  at timestamptz not null default now(),
  primary key (key, channel)
);

create table audit (
  id bigint generated always as identity primary key,
  at timestamptz not null default now(),
  actor text not null,
  action text not null,
  object text not null,
  detail jsonb not null
);
create index audit_by_object on audit (object, id desc);

create table facts (
  key text primary key,
  at timestamptz not null default now()
);
create index facts_by_age on facts (at);

create table events (
  id bigint generated always as identity primary key,
  at timestamptz not null default now(),
  kind text not null,
  project text not null,
  environment text,
  number integer,
  run integer,
  data jsonb not null
);
create index events_by_age on events (at);

create function refuse_change() returns trigger language plpgsql as $$
begin
  raise exception 'rows of % are never changed', tg_table_name using errcode = 'restrict_violation';
end
$$;
create trigger audit_is_append_only before update or delete or truncate on audit
  for each statement execute function refuse_change();
create trigger releases_are_immutable before update or delete or truncate on releases
  for each statement execute function refuse_change();
create trigger decisions_are_append_only before update or delete or truncate on decisions
  for each statement execute function refuse_change();
`;
