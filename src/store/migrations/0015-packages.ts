/** Packages that runs have published, file by file, and the page that documentation among the artifacts begins with. */
export const packages = `
alter table artifacts add column entry text;
create table published_packages (
  project text not null,
  run integer not null,
  package text not null,
  file text not null,
  kind text not null,
  index_name text not null,
  name text not null,
  version text not null,
  sha256 text not null,
  size_bytes bigint not null,
  address text not null,
  already_there boolean not null,
  at timestamptz not null,
  primary key (project, run, package, file)
);
create index published_packages_version on published_packages (name, version);
`;
