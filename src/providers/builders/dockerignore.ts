import { posix } from 'node:path';
import picomatch from 'picomatch';

interface Rule {
  readonly keeps: boolean;
  readonly matches: (path: string) => boolean;
}

/**
 * Reads a `.dockerignore`: patterns of Go's `filepath.Match` with `**`; a pattern that matches a folder takes what is in it, `!` gives back,
 * the last that matches counts.
 *
 * @returns whether a path relative to the context stays out of it.
 */
export function readDockerignore(text: string): (path: string) => boolean {
  const rules = text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map(toRule);
  return (path) => {
    const parts = path.split('/');
    const parents = parts.map((_, index) => parts.slice(0, index + 1).join('/'));
    let ignored = false;
    for (const { keeps, matches } of rules) {
      if (ignored === keeps && parents.some(matches)) ignored = !keeps;
    }
    return ignored;
  };
}

function toRule(line: string): Rule {
  const keeps = line.startsWith('!');
  const pattern = posix.normalize((keeps ? line.slice(1) : line).trim()).replace(/^\/+|\/+$/g, '');
  if (pattern === '.' || pattern === '') return { keeps, matches: () => pattern === '.' };
  // Only what Go's patterns know: a brace or an extended group is an ordinary character there.
  const match = picomatch(pattern, { dot: true, nobrace: true, noextglob: true, nonegate: true });
  return { keeps, matches: (path) => match(path) };
}
