import { randomUUID } from 'node:crypto';
import { Client } from 'pg';
import { type Store, type StoreOptions, migrate, openStore } from '../../src/store/store.ts';
import { components } from './components.ts';

/** A database of its own on the real server, with all tables, and how to get rid of it. */
export interface TestStore extends Store {
  readonly url: string;
  /** Closes the pool and drops the database. */
  drop(): Promise<void>;
}

/** Makes an empty store; take one for each file. */
export async function temporaryStore(options: Partial<StoreOptions> = {}): Promise<TestStore> {
  const { store: server } = await components('store');
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  await onServer(server.url, `create database ${name}`);
  const url = new URL(server.url);
  url.pathname = `/${name}`;
  const store = openStore({ url: url.href, ...options });
  await migrate(store.db);
  return {
    ...store,
    url: url.href,
    async drop() {
      await store.close();
      await onServer(server.url, `drop database if exists ${name} with (force)`);
    },
  };
}

async function onServer(url: string, statement: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
