/**
 * What a channel has not taken is kept whole, to be sent again: the message, how often it was tried, and when it is next. A row without a
 * message was delivered, or is from before.
 */
export const undelivered = `
alter table notices add column message jsonb;
alter table notices add column tries bigint not null default 1;
alter table notices add column retry_at timestamptz;
alter table notices add column created_at timestamptz not null default now();
create index notices_undelivered on notices (retry_at) where state <> 'sent';
`;
