import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { runTool } from '../../src/effects/daemon.ts';
import { type LocalContext, announce } from '../../src/local/context.ts';
import { findProgram, lastLines, obtain } from '../../src/local/programs.ts';
import { readZip } from '../../src/providers/package-uploads/archive.ts';

/** A Go module of which a test wants the files, not the programs. */
export interface GoModule {
  /** Such as `github.com/go-playground/webhooks/v6`. */
  readonly path: string;
  readonly version: string;
  /** As `go.sum` has it, `h1:…`: over the files, so that it is the same whichever way the zip came. */
  readonly sum: string;
}

/** A few megabytes; for Go and for its proxy. Judgement: a slow line needs a minute. */
const deadlineMs = 90_000;

/**
 * The files of a module, from the cache of programs or, the first time, by `go mod download` or from Go's module proxy.
 *
 * @returns by path within the module.
 * @throws ProviderError `ToolMissing` (not retried): no way led there, or what came is not what was pinned; it says why for each.
 */
export async function goModuleFiles(context: LocalContext, module: GoModule): Promise<ReadonlyMap<string, Buffer>> {
  const { path, version } = module;
  const kept = join(context.cacheFolder, 'modules', `${path}@${version}.zip`);
  const fetched = async (zip: Buffer): Promise<ReadonlyMap<string, Buffer>> => {
    const files = await filesOf(module, zip);
    await mkdir(dirname(kept), { recursive: true });
    // Under its name only when it is whole; another process may do the same.
    await writeFile(`${kept}.${String(process.pid)}`, zip);
    await rename(`${kept}.${String(process.pid)}`, kept);
    return files;
  };
  return await obtain(
    `Go module ${path} ${version}`,
    [
      {
        what: `${kept} in the cache`,
        take: async () => {
          const zip = await readFile(kept).catch(() => undefined);
          return zip && (await filesOf(module, zip));
        },
      },
      { what: '`go mod download`', take: async () => await fetched(await zipOfGo(context, module)) },
      { what: 'Go’s module proxy', take: async () => await fetched(await zipOfProxy(context, module)) },
    ],
    'Give the machine a module proxy by GOPROXY, or the internet.',
  );
}

async function zipOfGo(context: LocalContext, { path, version }: GoModule): Promise<Buffer> {
  const go = findProgram(context, 'go');
  if (go === undefined) throw new Error('this machine has no Go');
  const result = await announce(context, 'module', `downloading ${path}`, () =>
    runTool(go, ['mod', 'download', '-json', `${path}@${version}`], { env: context.env, timeoutMs: deadlineMs }),
  );
  if (result.exitCode !== 0) throw new Error(lastLines(result.stderr || result.stdout));
  return await readFile((JSON.parse(result.stdout) as { readonly Zip: string }).Zip);
}

async function zipOfProxy(context: LocalContext, { path, version }: GoModule): Promise<Buffer> {
  const proxies = (context.env['GOPROXY'] ?? '').split(/[,|]/);
  const proxy = proxies.find((each) => /^https?:/.test(each)) ?? 'https://proxy.golang.org';
  // Capitals are written so, for file systems that do not tell them (go.dev/ref/mod#goproxy-protocol).
  const escaped = path.replaceAll(/[A-Z]/g, (letter) => `!${letter.toLowerCase()}`);
  return await announce(context, 'module', `downloading ${path}`, async () => {
    const response = await fetch(`${proxy.replace(/\/$/, '')}/${escaped}/@v/${version}.zip`, {
      signal: AbortSignal.timeout(deadlineMs),
    });
    if (response.status !== 200) throw new Error(`HTTP ${String(response.status)}`);
    return Buffer.from(await response.arrayBuffer());
  });
}

/** @throws Error - it is another module than the pinned one, or has been changed. */
async function filesOf({ path, version, sum }: GoModule, zip: Buffer): Promise<ReadonlyMap<string, Buffer>> {
  const files = await readZip(`${path}@${version}.zip`, zip, () => true, AbortSignal.timeout(deadlineMs));
  // Hash1 of golang.org/x/mod/sumdb/dirhash: the lines of `sha256sum`, in the order of the names.
  const lines = [...files.keys()].sort().map((name) => `${sha256(files.get(name)!, 'hex')}  ${name}\n`);
  const found = `h1:${sha256(lines.join(''), 'base64')}`;
  if (found !== sum) throw new Error(`it has the sum ${found}, and ${sum} was pinned`);
  return new Map([...files].map(([name, content]) => [name.slice(`${path}@${version}/`.length), content]));
}

function sha256(content: string | Buffer, encoding: 'hex' | 'base64'): string {
  return createHash('sha256').update(content).digest(encoding);
}
