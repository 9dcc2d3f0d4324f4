/** Files that stages keep: artifacts for people, and caches for later runs with how often they were found. */
export const keptFiles = `
create table artifacts (
  project    text not null,
  run        integer not null,
  stage      text not null,
  name       text not null,
  files      jsonb not null,
  size_bytes bigint not null,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  removed_at timestamptz,
  primary key (project, run, stage, name)
);
create index artifacts_expiring on artifacts (expires_at) where removed_at is null;

create table caches (
  project    text not null,
  scope      text not null,
  name       text not null,
  key        text not null,
  blob       text not null,
  size_bytes bigint not null,
  created_at timestamptz not null default now(),
  used_at    timestamptz not null default now(),
  primary key (project, scope, name, key)
);
create index caches_by_use on caches (project, used_at);

create table cache_uses (
  project     text not null,
  run         integer not null,
  stage       text not null,
  cache       text not null,
  hit         text not null check (hit in ('exact', 'fallback', 'miss')),
  size_bytes  bigint not null,
  duration_ms integer not null,
  at          timestamptz not null,
  primary key (project, run, stage, cache, at)
);
create index cache_uses_by_time on cache_uses (project, at);
`;
