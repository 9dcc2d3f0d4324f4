/** Runs of a ref one after the other: how each comes to its turn, since when it waits and until when, and when it got it. */
export const runTurns = `
alter table runs add column turn_mode text;
alter table runs add column queued_at timestamptz;
alter table runs add column turn_until timestamptz;
alter table runs add column turn_at timestamptz;
create index runs_open_of_ref on runs (project, ref, number) where outcome is null;
`;
