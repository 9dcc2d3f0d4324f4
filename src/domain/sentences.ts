/** What may end a sentence; a closing quote, backtick or bracket behind it belongs to it. */
const ended = /[.!?…:][)\]"'`»”]?$/;

/**
 * Joins what several hands have written into sentences: each part closed by a full stop where it has no end of its own, empty parts left
 * out. A part of several lines (the end of an output) is no sentence: it keeps its last line as it is, and what follows begins a new one.
 */
export function sentences(...parts: readonly (string | undefined)[]): string {
  let text = '';
  for (const part of parts) {
    const plain = part?.trim() ?? '';
    if (plain === '') continue;
    if (text !== '') text += text.includes('\n') ? '\n' : ' ';
    text += plain.includes('\n') || ended.test(plain) ? plain : `${plain}.`;
  }
  return text;
}
