/**
 * What a person needs of an error: its message, or where that says as little as `fetch failed`, the one beneath it.
 *
 * Told by shape and not by class: an error may come from another realm or another copy of a library.
 */
export function reasonOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return String(error);
  const { message, cause, code } = error as { message?: unknown; cause?: unknown; code?: unknown };
  if (message === 'fetch failed' && cause !== undefined) return reasonOf(cause);
  if (typeof message === 'string' && message !== '') return message;
  return typeof code === 'string' ? code : 'an error without a message';
}
