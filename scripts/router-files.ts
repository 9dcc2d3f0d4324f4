/**
 * Writes the first file of a router into its folder where there is none, so that it starts before the first deployment.
 * `slipway up` does the same by itself; on several machines it runs once on each that has a router.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readConfig } from '../src/config.ts';
import { globalFileName, renderGlobal } from '../src/providers/routers/haproxy-file.ts';

const { configFolder, statsSocket } = readConfig().router;
const file = join(configFolder, globalFileName);
mkdirSync(configFolder, { recursive: true });
const text = renderGlobal({ statsSocket });
// One that an older Slipway wrote holds until the router loads its files again.
if (!existsSync(file) || readFileSync(file, 'utf8') !== text) writeFileSync(file, text);
process.stdout.write(`${file}\n`);
