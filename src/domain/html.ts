/** HTML of our own, into which words of strangers go as text only. */

/** Made by {@link markup} and nothing else, so that whatever is a plain string is escaped. */
export interface Html {
  readonly html: string;
}

export type HtmlPart = string | number | Html | readonly Html[];

const marks: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

/** Foreign text between tags or in quotes: marks of HTML are escaped, and characters that are not seen or turn the line around are gone. */
export function escaped(foreign: string): string {
  return foreign.replace(/[\p{Cc}\p{Cf}]+/gu, ' ').replace(/[&<>"']/g, (mark) => marks[mark] ?? '');
}

/** A piece of HTML; every part that is not {@link Html} itself is text. Attributes stand in double quotes. */
export function markup(pieces: TemplateStringsArray, ...parts: readonly HtmlPart[]): Html {
  const written = pieces.map((piece, index) => `${piece}${index < parts.length ? writtenOf(parts[index] ?? '') : ''}`);
  return { html: written.join('') };
}

function writtenOf(part: HtmlPart): string {
  if (typeof part === 'string' || typeof part === 'number') return escaped(String(part));
  return 'html' in part ? part.html : part.map(({ html }) => html).join('\n');
}
