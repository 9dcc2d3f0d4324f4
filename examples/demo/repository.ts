import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));

/** A branch or a tag after a push: what a forge puts into its webhook. */
export interface Pushed {
  readonly ref: string;
  /** 40 zeros when the ref is new. */
  readonly before: string;
  readonly after: string;
  readonly subject: string;
  readonly author: string;
}

/** A Git repository made on the spot: a bare one that Slipway fetches from, and the working copy of a developer. */
export interface StoryRepository {
  /** Where Slipway fetches from, as a `file://` address. */
  readonly url: string;
  readonly bareFolder: string;
  readonly workFolder: string;
  /** Writes files (a `null` removes one), commits and pushes to `branch`. */
  commit(input: {
    readonly branch: string;
    readonly subject: string;
    readonly files?: Readonly<Record<string, string | null>>;
    readonly author?: string;
  }): Promise<Pushed>;
  /** Brings `to` to where `from` is, without a commit of its own, and pushes it. */
  promote(from: string, to: string): Promise<Pushed>;
  /** Gives the newest commit of the working copy a lightweight tag, and pushes the tag alone. */
  tag(name: string): Promise<Pushed>;
  read(path: string): Promise<string>;
}

const nowhere = '0'.repeat(40);
const defaultAuthor = 'linus';

/**
 * Makes the repository of `examples/hello` in `folder`, with the modules it needs beside the source, so that neither its tests nor
 * its image download anything.
 *
 * @param folder - replaced if it is there.
 * @param files - written over the example before the first commit, such as environment files with the ports of this machine.
 */
export async function makeStoryRepository(
  folder: string,
  files: Readonly<Record<string, string>> = {},
): Promise<StoryRepository> {
  const bareFolder = join(folder, 'hello.git');
  const workFolder = join(folder, 'hello');
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await cp(join(root, 'examples/hello'), workFolder, {
    recursive: true,
    filter: (source) => !source.endsWith('project.yaml') && !source.includes('hello/node_modules'),
  });
  await copyModules(join(workFolder, 'node_modules'), ['pg']);
  await write(workFolder, files);

  // A machine's own Git settings (signing, hooks, templates) have no business in a repository made for a story.
  const env = {
    PATH: process.env['PATH'] ?? '',
    HOME: folder,
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_CONFIG_NOSYSTEM: '1',
  };
  const git = async (...args: readonly string[]): Promise<string> => {
    const { stdout } = await run('git', ['-C', workFolder, ...args], { env, maxBuffer: 16 * 1024 * 1024 });
    return stdout.trim();
  };
  await run('git', ['init', '--quiet', '--bare', '--initial-branch=main', bareFolder], { env });
  await run('git', ['init', '--quiet', '--initial-branch=main', workFolder], { env });
  await git('remote', 'add', 'origin', bareFolder);

  const remoteHead = async (branch: string): Promise<string> => {
    const line = await git('ls-remote', 'origin', `refs/heads/${branch}`);
    return line === '' ? nowhere : line.slice(0, 40);
  };
  const pushTo = async (ref: string, before: string): Promise<Pushed> => {
    await git('push', '--quiet', 'origin', `HEAD:${ref}`);
    const [after = '', author = '', subject = ''] = (await git('log', '-1', '--format=%H%n%an%n%s')).split('\n');
    return { ref, before, after, subject, author };
  };
  const push = async (branch: string): Promise<Pushed> =>
    await pushTo(`refs/heads/${branch}`, await remoteHead(branch));

  return {
    url: `file://${bareFolder}`,
    bareFolder,
    workFolder,
    async commit({ branch, subject, files: changed = {}, author = defaultAuthor }) {
      await write(workFolder, changed);
      await git('add', '--all', '--force');
      const email = `${author}@hello.example`;
      await git(
        ...[
          '-c',
          `user.name=${author}`,
          '-c',
          `user.email=${email}`,
          'commit',
          '--quiet',
          '--allow-empty',
          '-m',
          subject,
        ],
      );
      return await push(branch);
    },
    async promote(from, to) {
      if ((await remoteHead(from)) === nowhere) throw new Error(`there is no branch ${from} to promote`);
      return await push(to);
    },
    tag: (name) => pushTo(`refs/tags/${name}`, nowhere),
    read: (path) => readFile(join(workFolder, path), 'utf8'),
  };
}

async function write(folder: string, files: Readonly<Record<string, string | null>>): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    const file = join(folder, path);
    if (content === null) {
      await rm(file, { force: true });
      continue;
    }
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, content);
  }
}

/** Copies packages and everything they depend on out of our own modules. */
async function copyModules(target: string, names: readonly string[]): Promise<void> {
  const waiting = [...names];
  const copied = new Set<string>();
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    if (copied.has(name)) continue;
    copied.add(name);
    const source = join(root, 'node_modules', name);
    const manifest = JSON.parse(await readFile(join(source, 'package.json'), 'utf8')) as {
      readonly dependencies?: Readonly<Record<string, string>>;
    };
    await cp(source, join(target, name), { recursive: true, dereference: true });
    waiting.push(...Object.keys(manifest.dependencies ?? {}));
  }
}
