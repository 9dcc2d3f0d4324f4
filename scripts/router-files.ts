/**
 * Writes the first file of a router into its folder where there is none, so that it starts before the first deployment.
 * `slipway up` does the same by itself; on several machines it runs once on each that has a router.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readConfig } from '../src/config.ts';
import { globalFileName, renderGlobal } from '../src/providers/routers/haproxy-file.ts';

const { configFolder, statsSocket } = readConfig().router;
const file = join(configFolder, globalFileName);
mkdirSync(configFolder, { recursive: true });
if (!existsSync(file)) writeFileSync(file, renderGlobal({ statsSocket }));
process.stdout.write(`${file}\n`);
