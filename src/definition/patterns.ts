/**
 * Why a regular expression is refused, or `undefined`.
 *
 * JavaScript's engine backtracks: `(a+)+$` against a line of 40 letters runs for years and would stop the watch. Groups that repeat and
 * hold a repetition or a choice, and more than two open repetitions, are what makes it so; references and look-behind are not needed to
 * find a log line. Two open repetitions cost the square of the line's length, and the watch cuts its lines.
 */
export function slowPattern(source: string): string | undefined {
  try {
    new RegExp(source, 'u');
  } catch (error) {
    const reason = error instanceof Error ? error.message.replace(/^Invalid regular expression: /u, '') : String(error);
    return `is no regular expression: ${reason}`;
  }
  if (/\(\?(?:[=!]|<[=!])/u.test(source)) return 'looks ahead or behind; write it without';
  if (/\\(?:[1-9]|k<)/u.test(source)) return 'refers back to a group; write it without';

  const groups: { repeats: boolean; chooses: boolean }[] = [];
  let open = 0;
  for (let at = 0; at < source.length; at += 1) {
    const character = source[at];
    if (character === '\\') at += 1;
    else if (character === '[') at = endOfClass(source, at);
    else if (character === '(') {
      groups.push({ repeats: false, chooses: false });
      at += /^\?(?:[a-z-]*:|<[^>]*>)/u.exec(source.slice(at + 1))?.[0].length ?? 0;
      continue;
    } else if (character === '|') {
      for (const group of groups) group.chooses = true;
    } else if (character === ')') {
      const group = groups.pop();
      if (isOpenRepetition(source, at + 1) && (group?.repeats === true || group?.chooses === true)) {
        return 'repeats a group that itself repeats or chooses, which can take for ever; write it without';
      }
    }
    if (isRepetition(source, at + 1)) for (const group of groups) group.repeats = true;
    if (isOpenRepetition(source, at + 1)) open += 1;
  }
  return open > 2 ? 'has more than two open repetitions (`*`, `+`), which can take for ever; write fewer' : undefined;
}

function endOfClass(source: string, start: number): number {
  for (let at = start + 1; at < source.length; at += 1) {
    if (source[at] === '\\') at += 1;
    else if (source[at] === ']') return at;
  }
  return source.length;
}

function isRepetition(source: string, at: number): boolean {
  const character = source[at];
  return character === '*' || character === '+' || character === '?' || character === '{';
}

function isOpenRepetition(source: string, at: number): boolean {
  const character = source[at];
  if (character === '*' || character === '+') return true;
  // Fifty and more of the same are as slow as any number: `(a{1,50}){1,50}`.
  const counted = /^\{(\d+)(,?)(\d*)\}/u.exec(source.slice(at));
  if (counted === null) return false;
  const [, least = '0', comma = '', most = ''] = counted;
  return (comma === ',' && most === '') || Number(most === '' ? least : most) > 10;
}
