import { CancelledFailure } from '@temporalio/common';
import { ProviderError, describeFailure } from '../domain/failures.ts';
import { type PublishedPackage, partlyPublished } from '../domain/packages.ts';

/** What of a run's packages has left and what has not, for whoever reads why publishing ended half-way. */
export interface PublishAccount {
  /** Files that are to be published, before the first one is. */
  expect(files: readonly { readonly package: string; readonly file: string }[]): void;
  add(one: PublishedPackage): void;
  /** What indexes hold by now, of earlier attempts too. */
  published(): readonly PublishedPackage[];
  /** The same error, saying what is published and what is not; a cancellation stays what it is. */
  tell(error: unknown): unknown;
}

/** @param before - what {@link PublishAccount.published} gave an earlier attempt, as its last heartbeat has it. */
export function createAccount(before: unknown): PublishAccount {
  const held = new Map<string, PublishedPackage>();
  const expected = new Map<string, { readonly package: string; readonly file: string }>();
  const keyOf = (one: { readonly package: string; readonly file: string }): string => `${one.package}/${one.file}`;
  if (Array.isArray(before)) for (const one of before as PublishedPackage[]) held.set(keyOf(one), one);
  return {
    expect(files) {
      for (const file of files) expected.set(keyOf(file), file);
    },
    add: (one) => void held.set(keyOf(one), one),
    published: () => [...held.values()],
    tell(error) {
      if (error instanceof CancelledFailure || (error instanceof Error && error.name === 'AbortError')) return error;
      const { type, message, details, retryable } = describeFailure(error);
      const published = [...held.values()];
      const unpublished = [...expected].flatMap(([key, { file }]) => (held.has(key) ? [] : [file]));
      return new ProviderError(type, partlyPublished(message, published, unpublished), {
        details: { ...details, published, unpublished },
        cause: error,
        nonRetryable: !(error instanceof ProviderError ? error.retryable : retryable),
      });
    },
  };
}
