import { z } from 'zod';
import type { SourceEvent } from '../../domain/run.ts';
import { storableText, isStorable } from '../../domain/storable-text.ts';
import type { ForgeEvent, ForgeMessage } from './port.ts';

/** Pieces that the payloads of all forges have in common. They are read loosely: forges add fields whenever they like. */
export const Commit = z.string().regex(/^[0-9a-f]{40}$/i, 'is no commit');
/** Bitbucket Cloud names commits of pull requests by 12 digits only. */
export const ShortCommit = z.string().regex(/^[0-9a-f]{7,40}$/i, 'is no commit');
const refCharacters = '[^\\0-\\x20\\x7f~^:?*[\\\\]';
export const FullRef = z
  .string()
  .max(1024)
  .regex(new RegExp(`^refs/${refCharacters}+$`), 'is no full ref')
  .refine(isStorable, 'is no full ref');
/** Name of a branch or tag, without `refs/…/`. */
export const ShortRef = z
  .string()
  .max(1000)
  .regex(new RegExp(`^(?!refs/)${refCharacters}+$`), 'is no name of a branch or tag')
  .refine(isStorable, 'is no name of a branch or tag');
/** Name of the branch that a pull request goes into, where it is told. */
export const Into = ShortRef.nullish();
export const Address = z.string().nullish();
/** When something was changed last, in whatever form a forge has for it. */
export const Moment = z.unknown().optional();

export const noCommit = '0'.repeat(40);
const longestMessage = 4096;
const longestName = 200;

type Draft = Omit<SourceEvent, 'message' | 'kind' | 'before' | 'after'> & {
  readonly before: string;
  readonly after: string;
  readonly message?: string | null | undefined;
};

/**
 * The event of a branch or tag that moved; why there is none when it was deleted, did not move, or is neither.
 *
 * @param draft.ref - full.
 * @param draft.commit - the commit that an annotated tag was put on, where the delivery tells: `after` is the object of the tag then, of
 *   which no forge takes a status. A run is for a commit, as polling finds it too.
 */
export function refMoved({
  commit,
  ...draft
}: Draft & { readonly commit?: string | null | undefined }): SourceEvent | string {
  const { ref, before, after } = draft;
  if (after === noCommit) return `${ref} was deleted; what was deployed from it stays.`;
  // Gitea tests a webhook with a push that leads from a commit to itself.
  if (before.toLowerCase() === after.toLowerCase()) return `${ref} did not move; the webhook works.`;
  const kind = ref.startsWith('refs/tags/') ? 'tag' : ref.startsWith('refs/heads/') ? 'push' : undefined;
  if (kind === undefined) return `${ref} is neither a branch nor a tag.`;
  return sourceEvent(kind, kind === 'tag' && commit ? { ...draft, after: commit } : draft);
}

/** Whether a pull request comes from another repository than it goes into. One of which that is not told is of strangers. */
export function isFork(
  source: string | number | null | undefined,
  target: string | number | null | undefined,
): boolean {
  return source === undefined || source === null || source === '' || source !== target;
}

/** A moment as it is kept; it is only ever compared with itself. */
export function momentOf(told: unknown): string {
  return typeof told === 'string' || typeof told === 'number' ? storableText(String(told).slice(0, 64)) : '';
}

/** An event of a pull request. */
export function pullRequestMoved(draft: Omit<Draft, 'ref'> & { readonly pullRequest: number }): SourceEvent {
  return sourceEvent('pull-request', { ...draft, ref: `refs/pull/${draft.pullRequest}/head` });
}

function sourceEvent(kind: SourceEvent['kind'], draft: Draft): SourceEvent {
  const { message, ...rest } = draft;
  const text = message === undefined || message === null ? undefined : storableText(message.slice(0, longestMessage));
  return {
    ...rest,
    kind,
    author: storableText(draft.author.slice(0, longestName)),
    before: draft.before.toLowerCase(),
    after: draft.after.toLowerCase(),
    ...(text === undefined ? {} : { message: text }),
  };
}

/** The message of what was found: events, or the first reason why there are none. */
export function messageOf(found: readonly (ForgeEvent | string)[]): ForgeMessage {
  const events = found.filter((one) => typeof one !== 'string');
  if (events.length > 0) return { kind: 'events', events };
  const [why = 'The delivery tells of nothing that happened.'] = found.filter((one) => typeof one === 'string');
  return { kind: 'ignored', why };
}

/** As {@link messageOf}, of one event without anything beside it. */
export function messageOfOne(found: SourceEvent | string): ForgeMessage {
  return messageOf([typeof found === 'string' ? found : { event: found }]);
}

/** Addresses that are there. */
export function addresses(...found: readonly (string | null | undefined)[]): readonly string[] {
  return found.filter((address) => address !== undefined && address !== null && address !== '') as string[];
}
