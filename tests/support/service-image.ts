import { readFile, readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import Docker from 'dockerode';
import { pack } from 'tar-stream';
import type { ReleaseImage } from '../../src/domain/release.ts';

/** What an image for tests is made of and where it goes. */
export interface ServiceImageRequest {
  readonly dockerSocket: string;
  /** `host:port` of the registry. */
  readonly registry: string;
  /** Base image with Node in it. */
  readonly base: string;
  readonly repository: string;
  readonly tag: string;
  readonly files: Readonly<Record<string, string>>;
  /** Packages of this repository that the service needs, with what they need in turn. */
  readonly packages?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

const modules = resolve(import.meta.dirname, '../../node_modules');

/** Builds `node service.mjs` into an image and pushes it. */
export async function buildServiceImage(request: ServiceImageRequest): Promise<ReleaseImage> {
  const docker = new Docker({ socketPath: request.dockerSocket });
  const context = pack();
  const env = Object.entries(request.env ?? {}).map(([name, value]) => `ENV ${name}=${value}\n`);
  context.entry(
    { name: 'Dockerfile' },
    `FROM ${request.base}\nWORKDIR /app\nCOPY . .\n${env.join('')}CMD ["node", "service.mjs"]\n`,
  );
  for (const [name, text] of Object.entries(request.files)) context.entry({ name }, text);
  for (const name of await withDependencies(request.packages ?? [])) {
    for (const file of await readdir(join(modules, name), { recursive: true, withFileTypes: true })) {
      if (!file.isFile()) continue;
      const path = join(file.parentPath, file.name);
      context.entry({ name: `node_modules/${path.slice(modules.length + 1)}` }, await readFile(path));
    }
  }
  context.finalize();
  const repository = `${request.registry}/${request.repository}`;
  const reference = `${repository}:${request.tag}`;
  await drain(await docker.buildImage(context as unknown as NodeJS.ReadableStream, { t: reference }));
  await drain(
    await docker.getImage(reference).push({ authconfig: { username: '', password: '', serveraddress: '' } } as object),
  );
  const { RepoDigests } = await docker.getImage(reference).inspect();
  const digest = RepoDigests.find((found) => found.startsWith(`${repository}@`))?.split('@')[1];
  if (digest === undefined) throw new Error(`${reference} has no digest after its push`);
  return { name: request.repository.split('/').at(-1) ?? request.repository, repository, digest };
}

async function withDependencies(names: readonly string[]): Promise<Set<string>> {
  const found = new Set<string>();
  const open = [...names];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (found.has(name)) continue;
    found.add(name);
    const manifest = JSON.parse(await readFile(join(modules, name, 'package.json'), 'utf8')) as {
      dependencies?: Record<string, string>;
    };
    open.push(...Object.keys(manifest.dependencies ?? {}));
  }
  return found;
}

async function drain(stream: NodeJS.ReadableStream): Promise<void> {
  let rest = '';
  for await (const chunk of stream) {
    const lines = (rest + chunk.toString()).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines.filter((text) => text.trim() !== '')) {
      const { error } = JSON.parse(line) as { error?: string };
      if (error !== undefined) throw new Error(error);
    }
  }
}
