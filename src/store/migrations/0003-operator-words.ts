/**
 * What operators have said is live (`unlock`, `reconcile`): a rollback that names no version goes to what was live before, and without
 * their words the row of what was live has holes.
 */
export const operatorWords = `
create table operator_words (
  project     text not null,
  environment text not null,
  at          timestamptz not null,
  how         text not null,
  by          text not null,
  reason      text not null,
  live        jsonb,
  primary key (project, environment, at)
);
`;
