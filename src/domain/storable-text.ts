/**
 * A text without what the store cannot hold: NUL, which PostgreSQL has in no text, and halves of characters, which are no UTF-8. Each becomes
 * the sign for a character that cannot be shown. What is written by others may hold both.
 */
export function storableText(text: string): string {
  const whole = text.isWellFormed() ? text : text.toWellFormed();
  return whole.includes('\0') ? whole.replaceAll('\0', '\uFFFD') : whole;
}

/** Whether the store holds a text as it is. */
export function isStorable(text: string): boolean {
  return text.isWellFormed() && !text.includes('\0');
}
