/**
 * Prints a token of an administrator, straight from the store: the one way in where there is no token yet. `slipway up`
 * does the same by itself; on several machines it is run once, by whoever may read DATABASE_URL.
 */
import { readConfig } from '../src/config.ts';
import { migrate, openStore } from '../src/store/store.ts';
import { createToken } from '../src/store/tokens.ts';

const { databaseUrl } = readConfig();
if (databaseUrl === undefined) {
  process.stderr.write('Set DATABASE_URL to the store this token is for.\n');
  process.exit(2);
}
const store = openStore({ url: databaseUrl, poolSize: 2, applicationName: 'slipway first-token' });
try {
  await migrate(store.db);
  const { token } = await createToken(store.db, {
    name: process.argv[2] ?? 'admin',
    role: 'admin',
    groups: [],
    createdBy: 'first-token',
  });
  process.stdout.write(`${token}\n`);
} finally {
  await store.close();
}
