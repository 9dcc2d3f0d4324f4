import { createHash } from 'node:crypto';

/** One value for each name of a matrix. */
export type Combination = Readonly<Record<string, string>>;

export interface MatrixValues {
  readonly values: Readonly<Record<string, readonly string[]>>;
  readonly include: readonly Combination[];
  readonly exclude: readonly Combination[];
}

/** As long as any name. */
const longestName = 40;

/**
 * Every combination of a matrix, in the order in which it was written: those of its values without the excluded, then the included.
 *
 * @param most - one more than this is enough to know that there are too many; the rest is not made.
 */
export function combinationsOf({ values, include, exclude }: MatrixValues, most = Infinity): readonly Combination[] {
  const names = Object.keys(values);
  const found: Combination[] = [];
  const isOut = (one: Combination): boolean =>
    exclude.some((pattern) => Object.entries(pattern).every(([name, value]) => one[name] === value));

  function add(at: number, one: Combination): void {
    if (found.length > most) return;
    const name = names[at];
    if (name === undefined) {
      if (!isOut(one)) found.push(one);
      return;
    }
    for (const value of values[name] ?? []) add(at + 1, { ...one, [name]: value });
  }
  if (names.length > 0) add(0, {});
  return [...found, ...include];
}

/**
 * Name of the stage for one combination: that of the stage and its values. It depends on these only, so that adding a value to the matrix
 * renames none.
 */
export function stageNameOf(stage: string, combination: Combination): string {
  const said = Object.values(combination)
    .map(plain)
    .filter((part) => part !== '');
  const name = [stage, ...said].join('-');
  if (said.length === Object.keys(combination).length && name.length <= longestName) return name;
  const hash = createHash('sha256')
    .update(JSON.stringify(Object.entries(combination)))
    .digest('hex')
    .slice(0, 8);
  return `${name.slice(0, longestName - hash.length - 1).replace(/-+$/, '')}-${hash}`;
}

/** A value as part of a name: small letters, digits and single hyphens. */
function plain(value: string): string {
  return value
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-|-$/g, '');
}

/** Puts values of a combination into the name of an image or a path; what is none of them stays. */
export function fillIn(text: string, combination: Combination): string {
  return text.replaceAll(/\{([A-Z_][A-Z0-9_]*)\}/g, (whole, name: string) => combination[name] ?? whole);
}

/** The names that stand in an image or a path. */
export function namesIn(text: string): readonly string[] {
  return [...text.matchAll(/\{([A-Z_][A-Z0-9_]*)\}/g)].map(([, name = '']) => name);
}
