/** What a release brought, for the page of it that a forge shows. */
import { code, text } from './markdown.ts';
import type { Plan } from './plan.ts';

/** GitHub takes 125,000 characters, the others more. Judgement: what people read. */
const mostCommits = 200;
const longestSubject = 200;

/** As Markdown; what commits say is no markup in it and mentions nobody. */
export function renderReleaseNotes({ deployment, changes, identity }: Plan): string {
  const { fromVersion, commits, filesChanged, linesChanged } = changes;
  const { environment, number } = deployment;
  const lines = commits
    .slice(0, mostCommits)
    .map(
      ({ sha, author, subject }) =>
        `- ${text(subject.slice(0, longestSubject))} (${code(sha.slice(0, 10))}, ${text(author.slice(0, longestSubject))})`,
    );
  return [
    `Live in ${text(environment)} by deployment ${number}.`,
    '',
    fromVersion === null
      ? 'The first release there.'
      : `Since ${code(fromVersion)}: ${filesChanged} files and ${linesChanged} lines changed.`,
    ...(lines.length === 0 ? [] : ['', '### Commits', '', ...lines]),
    // The plan itself lists no more than these.
    ...(commits.length >= mostCommits ? [`- and perhaps more: at most ${mostCommits} are listed`] : []),
    ...(identity.migrations.length === 0
      ? []
      : ['', '### Migrations', '', ...identity.migrations.map(({ name, kind }) => `- ${code(name)} (${kind})`)]),
  ].join('\n');
}
