/**
 * Installs the dependencies where they are missing or are not those of package-lock.json. Runs before `npm test`,
 * `npm run demo` and the like, with whatever Node the machine has, and therefore uses nothing but Node.
 */
import { spawn } from 'node:child_process';
import { accessSync, constants, readFileSync } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';

const root = resolve(import.meta.dirname ?? new URL('.', import.meta.url).pathname, '..');
const tickMs = 5_000;

const missing = firstMissing();
if (missing !== undefined) {
  // Its warnings are about the Node that began this, which is not the one that anything runs with.
  await npm(
    ['ci', '--no-audit', '--no-fund', '--no-progress', '--loglevel=error'],
    `installing dependencies (${missing})`,
  );
}
if (!isProgram(join(root, 'node_modules/.bin/node'))) {
  // With `ignore-scripts` npm leaves the package `node` without its program.
  await npm(['rebuild', 'node', '--no-ignore-scripts'], 'installing Node');
}

/** @returns why something must be installed, or undefined where everything is there. */
function firstMissing() {
  const wanted = packagesOf(join(root, 'package-lock.json'));
  const installed = packagesOf(join(root, 'node_modules/.package-lock.json'));
  if (installed === undefined) return 'there are none yet';
  const withoutDev = process.env.NODE_ENV === 'production' || (process.env.npm_config_omit ?? '').includes('dev');
  for (const [path, { version, optional, devOptional, dev, link }] of Object.entries(wanted ?? {})) {
    if (path === '' || optional || link || (withoutDev && (dev || devOptional))) continue;
    if (installed[path]?.version !== version) return `${path.replace('node_modules/', '')} ${version} is missing`;
  }
  return undefined;
}

function packagesOf(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8')).packages;
  } catch {
    return undefined;
  }
}

function isProgram(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

async function npm(args, message) {
  const began = Date.now();
  const say = () => {
    const seconds = Math.round((Date.now() - began) / 1000);
    process.stderr.write(`${message}${seconds === 0 ? '' : ` (${seconds} s)`}\n`);
  };
  say();
  const ticker = setInterval(say, tickMs);
  // Not the Node below node_modules: `npm ci` takes it away while it works.
  const path = (process.env.PATH ?? '')
    .split(delimiter)
    .filter((folder) => !folder.startsWith(join(root, 'node_modules')));
  const child = spawn('npm', args, {
    cwd: root,
    stdio: ['ignore', 2, 2],
    env: { ...process.env, PATH: path.join(delimiter) },
  });
  const code = await new Promise((settle) => {
    child.once('error', () => settle(127));
    child.once('close', (exit) => settle(exit ?? 137));
  });
  clearInterval(ticker);
  if (code === 0) return;
  process.stderr.write(
    `npm ${args.join(' ')} failed with exit code ${code}; its reason is above. Run it by hand in ${root}, then try again.\n`,
  );
  process.exit(code);
}
