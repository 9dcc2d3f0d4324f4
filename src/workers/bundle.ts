import { createHash } from 'node:crypto';
import { mkdir, readFile, readdir, rename, stat, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const sourceFolder = dirname(dirname(fileURLToPath(import.meta.url)));
/** `.ts` when Node runs the sources as they are, `.js` when it runs what `npm run build` made of them. */
const extension = extname(fileURLToPath(import.meta.url));

/** The bundle's entry: every export of it is a workflow. */
export const workflowsPath = join(sourceFolder, 'workflows', `index${extension}`);

/**
 * Makes the bundle of all workflows, or finds the one made earlier of the same sources with the same SDK.
 *
 * Making it takes some seconds and 200 MB, which the process keeps: a worker that shall stay small calls this in a process of its own
 * (`workers/bundle-main.ts`).
 *
 * @param folder - where bundles are kept; made when missing.
 * @returns the path for `WorkerOptions.workflowBundle.codePath`.
 */
export async function ensureWorkflowBundle(folder: string): Promise<string> {
  const path = await workflowBundlePath(folder);
  if (await exists(path)) return path;
  // Imported here: webpack is half of the memory, and a worker that finds its bundle never needs it.
  const { bundleWorkflowCode } = await import('@temporalio/worker');
  const quiet = { trace: none, debug: none, info: none, warn: report, error: report, log: none };
  const { code } = await bundleWorkflowCode({ workflowsPath, logger: quiet });
  await mkdir(folder, { recursive: true });
  const temporary = `${path}.${String(process.pid)}`;
  await writeFile(temporary, code);
  // Renamed, so that two processes making it at once never load half a file.
  await rename(temporary, path);
  return path;
}

/** Where the bundle of the present sources is, or would be. */
export async function workflowBundlePath(folder: string): Promise<string> {
  const hash = createHash('sha256').update(sdkVersion());
  for (const part of ['workflows', 'domain']) {
    for (const file of await sources(join(sourceFolder, part))) hash.update(file).update(await readFile(file));
  }
  return join(folder, `workflows-${hash.digest('hex').slice(0, 16)}.js`);
}

async function sources(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => entry.isFile() && entry.name.endsWith(extension))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** A bundle runs only under the very version of the SDK that made it. */
function sdkVersion(): string {
  const require = createRequire(import.meta.url);
  return (require('@temporalio/worker/package.json') as { readonly version: string }).version;
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

function none(): void {
  // The bundler tells of every module; only what is wrong is worth a line.
}

function report(message: string): void {
  process.stderr.write(`${message}\n`);
}
