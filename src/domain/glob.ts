/**
 * Whether a path of a repository matches a glob: `*` anything but `/`, `**` anything, `?` one character, `{a,b}` either. A `**` between
 * slashes also stands for no folder at all, so that `src/**` + `/*.ts` finds `src/a.ts` as it does everywhere else.
 *
 * Takes at most the square of the lengths, whatever the pattern: globs come from repositories.
 */
export function matchesPath(glob: string, path: string): boolean {
  return withoutFolders(glob).some((one) => matchesRef(one, path));
}

/** `a/**` + `/b` → that, and `a/b`. */
function withoutFolders(glob: string): readonly string[] {
  const at = glob.startsWith('**/') ? 0 : glob.indexOf('/**/') + 1;
  if (at === 0 && !glob.startsWith('**/')) return [glob];
  const rest = withoutFolders(glob.slice(at + 3));
  const before = glob.slice(0, at);
  return rest.flatMap((tail) => [`${before}**/${tail}`, before + tail]);
}

/** Whether a short ref (`feature/x`, `v1.2.0`, `pull/7/head`) matches a pattern. Letter case counts, as it does in Git. */
export function matchesRef(pattern: string, ref: string): boolean {
  return alternatives(pattern).some((one) => matches(one, 0, ref, 0));
}

/** `a{b,c}d` → `abd`, `acd`. Braces do not nest; an open one stands for itself. */
function alternatives(pattern: string): readonly string[] {
  const open = pattern.indexOf('{');
  const close = pattern.indexOf('}', open);
  if (open < 0 || close < 0) return [pattern];
  const rest = alternatives(pattern.slice(close + 1));
  return pattern
    .slice(open + 1, close)
    .split(',')
    .flatMap((choice) => rest.map((tail) => pattern.slice(0, open) + choice + tail));
}

/** Remembers only the last star of each kind, so that no pattern takes longer than the square of its length. */
function matches(pattern: string, fromPattern: number, ref: string, fromRef: number): boolean {
  let at = fromPattern;
  let seen = fromRef;
  let star: { pattern: number; ref: number } | undefined;
  let globstar: { pattern: number; ref: number } | undefined;
  while (seen < ref.length || at < pattern.length) {
    if (pattern.startsWith('**', at)) {
      at += 2;
      globstar = { pattern: at, ref: seen };
      star = undefined;
      continue;
    }
    if (pattern[at] === '*') {
      at += 1;
      star = { pattern: at, ref: seen };
      continue;
    }
    const here = ref[seen];
    if (here !== undefined && (pattern[at] === here || (pattern[at] === '?' && here !== '/'))) {
      at += 1;
      seen += 1;
      continue;
    }
    // The last star takes one more character; a single one never takes a slash.
    if (star !== undefined && star.ref < ref.length && ref[star.ref] !== '/') {
      star = { pattern: star.pattern, ref: star.ref + 1 };
      at = star.pattern;
      seen = star.ref;
      continue;
    }
    if (globstar !== undefined && globstar.ref < ref.length) {
      globstar = { pattern: globstar.pattern, ref: globstar.ref + 1 };
      star = undefined;
      at = globstar.pattern;
      seen = globstar.ref;
      continue;
    }
    return false;
  }
  return true;
}
