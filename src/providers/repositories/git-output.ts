/** What Git printed, read. Each takes the whole of its standard output. */
import type { RemoteRef, SourceChanges, TreeEntry } from './port.ts';

export function parseCommits(stdout: string): SourceChanges['commits'] {
  const fields = stdout.split('\0');
  const commits = [];
  for (let at = 0; at + 2 < fields.length; at += 3) {
    commits.push({ sha: (fields[at] ?? '').trim(), author: fields[at + 1] ?? '', subject: fields[at + 2] ?? '' });
  }
  return commits;
}

export function parseShortstat(stdout: string): { filesChanged: number; linesChanged: number } {
  const count = (pattern: RegExp): number => Number(pattern.exec(stdout)?.[1] ?? 0);
  return {
    filesChanged: count(/(\d+) files? changed/),
    linesChanged: count(/(\d+) insertions?/) + count(/(\d+) deletions?/),
  };
}

/** An annotated tag comes twice: as itself, and with `^{}` as the commit it was put on. */
export function parseRefs(stdout: string): RemoteRef[] {
  const lines = stdout
    .split('\n')
    .map((line) => line.split('\t'))
    .filter((line): line is [string, string] => line.length === 2);
  const peeled = new Map(
    lines.filter(([, ref]) => ref.endsWith('^{}')).map(([commit, ref]) => [ref.slice(0, -'^{}'.length), commit]),
  );
  return lines
    .filter(([, ref]) => !ref.endsWith('^{}'))
    .map(([value, ref]) => ({ ref, value, commit: peeled.get(ref) ?? value }));
}

export function parseTree(stdout: string): TreeEntry[] {
  return stdout
    .split('\0')
    .filter((line) => line !== '')
    .map((line) => {
      const tab = line.indexOf('\t');
      const [mode = '', , object = ''] = line.slice(0, tab).split(' ');
      return { mode, object, path: line.slice(tab + 1) };
    });
}
