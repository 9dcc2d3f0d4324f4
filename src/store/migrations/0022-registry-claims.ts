/**
 * Who needs an image of a registry just now, and what retention is removing there just now. A digest of '' stands for whatever the repository
 * comes to hold. Runs that are open while an older Slipway is replaced have made no claims: theirs are made here.
 */
export const registryClaims = `
create table registry_claims (
  repository text not null,
  digest text not null,
  purpose text not null,
  holder text not null,
  project text not null,
  run bigint,
  environment text,
  deployment bigint,
  expires_at timestamptz not null,
  primary key (repository, digest, holder)
);
create index registry_claims_of_holder on registry_claims (holder);
insert into registry_claims (repository, digest, purpose, holder, project, run, expires_at)
select distinct images.repository, '', 'use', 'run ' || open.project || '/' || open.number || ' of an older version', open.project, open.number,
  now() + interval '7 days'
from runs open join images on images.project = open.project where open.outcome is null;
`;
