import { readFileSync } from 'node:fs';
import { createApp } from './app.js';
import { createFault } from './fault.js';
import { createNotes } from './notes.js';

const port = Number(process.env.PORT ?? 8080);
const host = process.env.HOST ?? '0.0.0.0';
const notes = createNotes(process.env.DATABASE_URL);
const fault = createFault(JSON.parse(readFileSync(new URL('fault.json', import.meta.url), 'utf8')));

const app = createApp({
  version: process.env.SLIPWAY_VERSION ?? process.env.npm_package_version ?? 'unknown',
  release: (process.env.SLIPWAY_COMMIT ?? 'none').slice(0, 12),
  slot: process.env.SLIPWAY_SLOT ?? 'none',
  greeting: process.env.GREETING ?? 'Hello',
  notes,
  fault,
});

app.server.listen(port, host, () => {
  console.log(`listening on ${host}:${port}`);
});

for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, async () => {
    console.log(`${signal}: finishing ${app.inFlight()} requests`);
    await app.close();
    await notes.close();
    console.log('ended');
    process.exit(0);
  });
}
