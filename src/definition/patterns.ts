import { RE2JS, RE2Set } from 're2js';

/** A regular expression of a definition, for lines that whoever wrote it may have written too. */
export interface LinePattern {
  readonly source: string;
  /** Whether any part of the text matches: in time proportional to its length, whatever both are. */
  test(text: string): boolean;
}

/**
 * How large a pattern may be, in instructions of its program: about one for each character, times what repeats it. A line of 4 KiB that is made
 * for it costs the largest some 80 ms of the worker's only thread (measured, docs/adr/0028). Judgement.
 */
const mostInstructions = 256;
/** What is not even compiled, in about the same: `(…{31}){32}` of 90 characters takes seconds for that alone. */
const mostParts = 1_024;
/** Memory that one pattern may have for what it remembers of lines, bytes: a watch may have forty. Judgement. */
const mostMemoryBytes = 262_144;

/**
 * Compiles a regular expression by RE2's rules, which has no look-around and no references back, and needs no trying out for it. What JavaScript
 * writes in another way (`\u00e9`, `\cA`, `(?<name>…)`) is understood.
 *
 * @throws Error - why it is refused, as the end of a sentence about it.
 */
export function compilePattern(source: string): LinePattern {
  // It would be taken for the letter.
  if (source.replaceAll(/\\[^k]/gu, '').includes('\\k')) throw new Error(backReference('\\k'));
  if (partsOf(source) > mostParts) throw new Error(tooLarge);
  const translated = RE2JS.translateRegExp(source);
  if (sizeOf(source, translated) > mostInstructions) throw new Error(tooLarge);
  const matcher = new RE2Set(RE2Set.UNANCHORED, 0, mostMemoryBytes);
  matcher.add(translated);
  matcher.compile();
  return { source, test: (text) => matcher.match(text).length > 0 };
}

/** Why a regular expression is refused, or `undefined`. */
export function patternProblem(source: string): string | undefined {
  try {
    compilePattern(source);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

const tooLarge = `repeats too much: written out it has more than ${mostInstructions} parts; lower the numbers in \`{…}\``;

function backReference(what: string): string {
  return `refers back to a group (\`${what}\`), which RE2 does not do; write it without`;
}

function sizeOf(source: string, translated: string): number {
  try {
    return RE2JS.compile(translated).programSize();
  } catch (error) {
    throw new Error(complaintOf(source, error instanceof Error ? error.message : String(error)), { cause: error });
  }
}

/** In our words where people come from another dialect, else in the engine's. */
function complaintOf(source: string, said: string): string {
  const around = /\(\?(?:<?[=!])/u.exec(said)?.[0];
  if (around !== undefined) return `looks ahead or behind (\`${around}\`), which RE2 does not do; write it without`;
  const back = /invalid escape sequence: `(\\[1-9])/u.exec(said)?.[1];
  if (back !== undefined) return backReference(back);
  // Its place shows the pattern already.
  const reason = said.replace(/^error parsing regexp: /u, '').replace(`: \`${source}\``, '');
  return `is no regular expression of RE2: ${reason}`;
}

/**
 * About how many parts a pattern has when its counted repetitions are written out. Linear in its text, and compiles nothing; what is no pattern
 * at all gives any number.
 */
function partsOf(source: string): number {
  const open: number[] = [];
  let parts = 0;
  /** Of what stands last, which a count behind it repeats. */
  let last = 0;
  for (let at = 0; at < source.length; at += 1) {
    const character = source[at];
    const count = character === '{' ? /^\{(\d+)(,?)(\d*)\}/u.exec(source.slice(at, at + 16)) : null;
    if (count !== null) {
      const [whole, least = '0', comma = '', most = ''] = count;
      const times = most === '' ? Number(least) + comma.length : Number(most);
      parts += last * (Math.max(times, 1) - 1);
      last *= Math.max(times, 1);
      at += whole.length - 1;
    } else if (character === '(') {
      open.push(parts);
      parts = 0;
      last = 0;
    } else if (character === ')') {
      last = parts;
      parts += open.pop() ?? 0;
    } else {
      if (character === '\\') at += 1;
      else if (character === '[') at = endOfClass(source, at);
      last = 1;
      parts += 1;
    }
  }
  return parts;
}

function endOfClass(source: string, start: number): number {
  for (let at = start + 1; at < source.length; at += 1) {
    if (source[at] === '\\') at += 1;
    else if (source[at] === ']') return at;
  }
  return source.length;
}
