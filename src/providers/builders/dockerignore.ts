import { posix } from 'node:path';
import { RE2Set } from 're2js';
import { ProviderError } from '../../domain/failures.ts';

/** Longest `.dockerignore`, characters: what one path costs grows with it. Judgement: twenty times what is usual. */
const longestText = 16_384;

/**
 * Reads a `.dockerignore`: patterns of Go's `filepath.Match` with `**`; a pattern that matches a folder takes what is in it, `!` gives back,
 * the last that matches counts.
 *
 * As the engine that it is meant for, it matches by RE2, all rules at once: the repository writes it, and names the files that it is held against.
 *
 * @returns whether a path relative to the context stays out of it.
 * @throws ProviderError `BuildFailed` (not retried) - it is longer than 16 KiB.
 */
export function readDockerignore(text: string): (path: string) => boolean {
  if (text.length > longestText) {
    throw new ProviderError('BuildFailed', `.dockerignore is longer than the ${longestText} characters it may have.`);
  }
  const rules = text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const keeps = line.startsWith('!');
      const pattern = posix.normalize((keeps ? line.slice(1) : line).trim()).replace(/^\/+|\/+$/g, '');
      return { keeps, pattern };
    })
    // The context itself is no path in it.
    .filter(({ pattern }) => pattern !== '.' && pattern !== '');
  if (rules.length === 0) return () => false;

  const matcher = new RE2Set(RE2Set.ANCHOR_BOTH);
  for (const { pattern } of rules) matcher.add(expressionOf(pattern));
  matcher.compile();

  /** By folder, the last rule that matches it or a folder round it; -1: none. */
  const folders = new Map<string, number>();
  const lastRule = (path: string): number => {
    const own = Math.max(-1, ...matcher.match(path));
    const slash = path.lastIndexOf('/');
    return slash < 0 ? own : Math.max(own, ofFolder(path.slice(0, slash)));
  };
  const ofFolder = (path: string): number => {
    const last = folders.get(path) ?? lastRule(path);
    folders.set(path, last);
    return last;
  };
  return (path) => rules[lastRule(path)]?.keeps === false;
}

/** In RE2, what a pattern says. Only what Go's patterns know: a brace or an extended group is an ordinary character there. */
function expressionOf(pattern: string): string {
  let expression = '(?s)';
  for (let at = 0; at < pattern.length; at += 1) {
    const character = pattern[at] ?? '';
    if (pattern.startsWith('**/', at)) {
      // Also no folder at all.
      expression += '(?:.*/)?';
      at += 2;
    } else if (pattern.startsWith('**', at)) {
      expression += '.*';
      at += 1;
    } else if (character === '*') expression += '[^/]*';
    else if (character === '?') expression += '[^/]';
    else if (character === '[') {
      const letters = classAt(pattern, at);
      expression += letters?.expression ?? '\\[';
      at += (letters?.length ?? 1) - 1;
    } else {
      if (character === '\\' && at + 1 < pattern.length) at += 1;
      expression += plain(pattern[at] ?? '');
    }
  }
  return expression;
}

/** `[a-z]`, `[^a]`; undefined where it has no end or holds nothing. */
function classAt(pattern: string, start: number): { readonly expression: string; readonly length: number } | undefined {
  const [whole, not, inside] = /^\[(\^?)((?:\\.|[^\]\\])+)\]/su.exec(pattern.slice(start)) ?? [];
  if (whole === undefined || inside === undefined) return undefined;
  const letters = inside.replaceAll(/\\(.)|([[&~])/gsu, (_, escaped?: string, other?: string) =>
    escaped === undefined ? `\\${other ?? ''}` : plain(escaped),
  );
  const expression = `[${not ?? ''}${letters}]`;
  // As `[z-a]`, which holds nothing: Go refuses the file for it.
  return isExpression(expression) ? { expression, length: whole.length } : undefined;
}

function isExpression(expression: string): boolean {
  try {
    new RE2Set().add(expression);
    return true;
  } catch {
    return false;
  }
}

/** One character that stands for itself. */
function plain(character: string): string {
  return /[\w/ ]/u.test(character) || character > '\u007f' ? character : `\\${character}`;
}
