import type { RouteDecision } from './routing.ts';
import type { CommitInfo, RunInput, SourceEvent } from './run.ts';

/**
 * What people write into a commit so that nothing is run for it. The words of GitHub (docs.github.com, skipping workflow runs), GitLab
 * (docs.gitlab.com, skip a pipeline) and Bitbucket, and those with our own name; whichever forge it comes from: people move, and their habits with them.
 */
const words = /\[(?:skip ci|ci skip|no ci|skip actions|actions skip|skip slipway|slipway skip)\]/i;
const trailer = /^skip-checks:\s*true$/i;

/**
 * Whether a commit asks for no run. Pushes and pull requests only: a tag, a schedule and a person mean what they do.
 *
 * @param message - of the newest commit.
 */
export function asksToSkip(kind: SourceEvent['kind'], message: string | undefined): boolean {
  if (message === undefined || (kind !== 'push' && kind !== 'pull-request')) return false;
  if (words.test(message)) return true;
  // A trailer stands in the last paragraph, after at least one other.
  const paragraphs = message.trim().split(/\n\s*\n/);
  const last = paragraphs.length > 1 ? (paragraphs.at(-1) ?? '') : '';
  return last.split('\n').some((line) => trailer.test(line.trim()));
}

/**
 * Why an accepted run runs nothing. Who asks for one by hand, or to deploy what there is, means it.
 *
 * @returns a sentence; undefined where it runs.
 */
export function whySkipped(
  {
    event,
    release,
    checksOnly,
  }: Pick<RunInput, 'release' | 'checksOnly'> & { readonly event: Pick<SourceEvent, 'kind'> },
  decision: RouteDecision,
  { message }: Pick<CommitInfo, 'message'>,
): string | undefined {
  if (release !== undefined) return undefined;
  if (decision.kind === 'ignored' && decision.reason === 'no-path') return decision.why;
  // Without a route it would end well and be nowhere; only what is there to check alone needs none.
  if (decision.kind === 'ignored' && decision.reason === 'no-parameter' && checksOnly !== true) return decision.why;
  return asksToSkip(event.kind, message) ? 'The commit asks to be skipped.' : undefined;
}
