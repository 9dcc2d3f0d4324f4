import { execFileSync } from 'node:child_process';
import type { GitOrigin } from '../tests/support/git-origin.ts';

/** Many distinct commits at once: one process, not one each. */
export function makeCommits(origin: GitOrigin, branch: string, count: number): readonly string[] {
  const from = origin.git('rev-parse', 'HEAD');
  const lines: string[] = [];
  for (let index = 0; index < count; index += 1) {
    const content = `${branch} ${index}\n`;
    const message = `change ${index} of ${branch}`;
    lines.push(
      `commit refs/heads/${branch}`,
      `committer Ada Lovelace <ada@bench.example> ${1_700_000_000 + index} +0000`,
      `data ${Buffer.byteLength(message)}`,
      message,
      ...(index === 0 ? [`from ${from}`] : []),
      'M 100644 inline change',
      `data ${Buffer.byteLength(content)}`,
      content,
    );
  }
  execFileSync('git', ['fast-import', '--quiet'], {
    cwd: origin.path,
    input: lines.join('\n'),
    stdio: ['pipe', 'ignore', 'pipe'],
  });
  return origin.git('rev-list', '--reverse', `${from}..refs/heads/${branch}`).split('\n');
}
