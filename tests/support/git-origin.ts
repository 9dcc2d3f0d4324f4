import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** A repository to deploy from, made on the spot. */
export interface GitOrigin {
  readonly path: string;
  /** Writes the files (null removes one) and commits; gives the commit's hash. */
  commit(files: Readonly<Record<string, string | null>>, message?: string, author?: string): string;
  git(...args: string[]): string;
  remove(): void;
}

/** An empty repository with the branch `main`. */
export function createGitOrigin(): GitOrigin {
  const path = mkdtempSync(join(tmpdir(), 'slipway-origin-'));
  const env = { PATH: process.env['PATH'] ?? '', GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1', HOME: path };

  function git(...args: string[]): string {
    return execFileSync('git', args, { cwd: path, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();
  }
  git('init', '--quiet', '-b', 'main', '.');
  return {
    path,
    git,
    commit(files, message = 'a change', author = 'Ada Lovelace') {
      for (const [name, content] of Object.entries(files)) {
        const file = join(path, name);
        if (content === null) {
          rmSync(file);
          continue;
        }
        mkdirSync(dirname(file), { recursive: true });
        writeFileSync(file, content);
        if (content.startsWith('#!')) chmodSync(file, 0o755);
      }
      git('add', '--all');
      git(
        '-c',
        `user.name=${author}`,
        '-c',
        'user.email=a@example.org',
        'commit',
        '--quiet',
        '--allow-empty',
        '-m',
        message,
      );
      return git('rev-parse', 'HEAD');
    },
    remove: () => rmSync(path, { recursive: true, force: true }),
  };
}
