/** Which runs another project's run has started: its page lists them. */
export const startedRuns = `
create index runs_started_by on runs ((input #>> '{startedBy,project}'), ((input #>> '{startedBy,number}')::integer))
  where input #>> '{startedBy,project}' is not null;
`;
