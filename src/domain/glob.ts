import { matchesRef } from './routing.ts';

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
