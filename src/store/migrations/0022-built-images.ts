/**
 * Images that workers have built, by what they were made of and the hash over their content: what an engine has beside them may carry any label.
 * The keys of before said nothing of secrets and of forks, so what was known by them is not taken again; the newest of each name stays, as a cache.
 */
export const builtImages = `
create table built_images (
  project text not null,
  key text not null,
  name text not null,
  id text not null,
  built_at timestamptz not null default now(),
  used_at timestamptz not null default now(),
  primary key (project, key, id)
);
create index built_images_used on built_images (used_at);
`;
