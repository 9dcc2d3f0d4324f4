/** How one thing that a commit goes through stands. */
export interface CommitStatus {
  /** 40 hexadecimal digits. */
  readonly commit: string;
  /** Names it at the forge: `slipway/shop/test`. The same again is the same status, in its newest state. */
  readonly context: string;
  readonly state: 'pending' | 'success' | 'failure' | 'error';
  /** One line; cut to what the forge shows. */
  readonly description: string;
  readonly url?: string;
}

/** A comment that a pull request has once, however often it is written. */
export interface Comment {
  readonly pullRequest: number;
  /** Told apart by it, hidden in the text: small letters, digits and hyphens. */
  readonly marker: string;
  /** Markdown. */
  readonly body: string;
}

/** A pull request that should be open. */
export interface WantedPullRequest {
  /** Branch, without `refs/heads/`. */
  readonly from: string;
  readonly into: string;
  readonly title: string;
  readonly body: string;
}

export type PullRequestAnswer =
  | { readonly kind: 'open'; readonly number: number; readonly url: string; readonly created: boolean }
  /** The branch has nothing that the other lacks. */
  | { readonly kind: 'nothing-to-merge' };

/** How a deployment stands, for the list of environments that a forge has. */
export interface DeploymentStatus {
  /** Names the deployment: the same again is the same deployment, in its newest state. `hello/production/7`. */
  readonly key: string;
  /** As the forge is to call it. */
  readonly environment: string;
  /** What it is called where the forge has no list of deployments, and it is a status of the commit. */
  readonly context: string;
  readonly production: boolean;
  /** Of its environment, from 1. */
  readonly number: number;
  /** 40 hexadecimal digits. */
  readonly commit: string;
  /** Full ref that the release was made from, where it is known. */
  readonly ref?: string;
  /**
   * `waiting`: for people or for its turn. `inactive`: it was taken back, and what was live before is live again.
   */
  readonly state: 'waiting' | 'running' | 'success' | 'failure' | 'inactive';
  /** One line; cut to what the forge shows. */
  readonly description: string;
  readonly url?: string;
}

/** A release that a forge should show. */
export interface WantedRelease {
  /** Made at the commit where there is none of that name. */
  readonly tag: string;
  /** 40 hexadecimal digits. */
  readonly commit: string;
  readonly name: string;
  /** Markdown. */
  readonly notes: string;
}

export interface ReleaseAnswer {
  /** `false`: it was there, and stays as it was. */
  readonly created: boolean;
  readonly url: string;
}

/**
 * What is said back to a forge. Every call may be made twice: after an error it may have been done, and doing it again changes nothing.
 *
 * All of them throw ProviderError `ForgeUnavailable` (retried): away, out of quota, or at fault; `ForgeRefused` (not retried): the token may
 * not, or the forge does not know the repository, the commit or the branch.
 */
export interface ForgeApi {
  setStatus(status: CommitStatus): Promise<void>;
  /** Writes it anew where it is there already: one that has the mark and that this token has written, for anybody can write a mark. */
  setComment(comment: Comment): Promise<void>;
  ensurePullRequest(wanted: WantedPullRequest): Promise<PullRequestAnswer>;
  /** In the forge's list of deployments; where it has none, as a commit status. */
  setDeployment(status: DeploymentStatus): Promise<void>;
  /** Absent where the forge has no releases. */
  ensureRelease?(release: WantedRelease): Promise<ReleaseAnswer>;
}

/** Where the API of a forge is, and as whom. */
export interface ForgeApiOptions {
  /** Without a slash at the end; the hosted service where it is not given. */
  readonly url?: string;
  readonly token: string;
  /** `owner/name`, or the path of a project. */
  readonly repository: string;
  /** Of one request, ms. */
  readonly timeoutMs: number;
}

/** A comment's text with its mark: an HTML comment, which no forge shows. */
export function marked(comment: Comment): string {
  return `${markOf(comment)}\n${comment.body}`;
}

export function markOf({ marker }: Pick<Comment, 'marker'>): string {
  return `<!-- slipway:${marker} -->`;
}

/** As {@link marked}, for a forge that shows HTML as text: a link that nothing refers to, which it does not show. */
export function plainMarked(comment: Comment): string {
  return `${plainMarkOf(comment)}\n\n${comment.body}`;
}

export function plainMarkOf({ marker }: Pick<Comment, 'marker'>): string {
  return `[//]: # (slipway:${marker})`;
}

const statusOfDeployment = {
  waiting: 'pending',
  running: 'pending',
  success: 'success',
  failure: 'failure',
  inactive: 'error',
} as const satisfies Readonly<Record<DeploymentStatus['state'], CommitStatus['state']>>;

/** A deployment as a commit status, for a forge that has no list of deployments. */
export function asCommitStatus({ context, commit, state, description, url }: DeploymentStatus): CommitStatus {
  return {
    commit,
    context,
    state: statusOfDeployment[state],
    description,
    ...(url === undefined ? {} : { url }),
  };
}
