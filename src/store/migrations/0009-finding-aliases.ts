/** Other names of what a finding is about; null where it has none. */
export const findingAliases = `
alter table findings add column aliases jsonb;
`;
