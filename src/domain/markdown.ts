/** Words of strangers in Markdown, and figures for people. */

/** Foreign text: every character that Markdown or HTML could take for something else is escaped, and lines are joined. */
export function text(foreign: string): string {
  return (
    foreign
      .replace(/[\p{Cc}\p{Cf}\s]+/gu, ' ')
      .trim()
      .replace(/[\\`*_{}[\]()#+!|~<>&@-]/g, '\\$&')
      // Forges make links of bare addresses too.
      .replace(/(https?|ftp|www)(?=[:.])/gi, '$1\u200b')
  );
}

/** Foreign text as code; a fence longer than any in it. */
export function code(foreign: string): string {
  const clean = foreign
    .replace(/[\p{Cc}\p{Cf}\s]+/gu, ' ')
    .trim()
    .replaceAll('|', '¦');
  if (clean === '') return '``';
  const longest = Math.max(0, ...[...clean.matchAll(/`+/g)].map(([run]) => run.length));
  const fence = '`'.repeat(longest + 1);
  return longest === 0 ? `${fence}${clean}${fence}` : `${fence} ${clean} ${fence}`;
}

/** Rounded down: 69.999 % is not 70 %. */
export function percent(ratio: number): string {
  return `${(Math.floor(ratio * 10_000) / 100).toFixed(2)} %`;
}

export function seconds(ms: number): string {
  return ms < 60_000
    ? `${(ms / 1_000).toFixed(1)} s`
    : `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1_000)} s`;
}
