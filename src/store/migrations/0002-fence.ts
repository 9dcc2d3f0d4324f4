/**
 * Who changes a target, and the newest who ever did (`effects/fence-table.ts` reads and writes it); and numbers of deployments that the
 * clock gave to a rollback while the store was away, which are larger than an integer.
 */
export const fence = `
create table if not exists fence (
  target         text primary key,
  deployment     bigint not null,
  step           bigint not null,
  attempt        bigint not null,
  holder         text,
  holder_host    text,
  holder_pid     integer,
  holder_started text,
  backend_pid    integer,
  acquired_at    timestamptz,
  renewed_at     timestamptz
);

alter table deployments alter column number type bigint;
alter table plans alter column number type bigint;
alter table deployment_steps alter column number type bigint;
alter table decisions alter column number type bigint;
alter table rollbacks alter column number type bigint;
alter table incidents alter column number type bigint;
alter table samples alter column number type bigint;
alter table log_streams alter column number type bigint;
alter table events alter column number type bigint;
`;
