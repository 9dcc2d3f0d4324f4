/**
 * Looking into a document that may be wrong anywhere: the rules are judged together with the schema, so nothing has the shape it should
 * have yet. What is not there, or not of that kind, is simply empty; the schema has said so.
 */
export type Group = Readonly<Record<string, unknown>>;

export function group(value: unknown): Group {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Group) : {};
}

export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

/** Texts only; anything else in the list is passed over, keeping the places of the rest. */
export function texts(value: unknown): readonly (readonly [index: number, text: string])[] {
  return list(value).flatMap((item, index) => (typeof item === 'string' ? [[index, item] as const] : []));
}

export function number(value: unknown): number | undefined {
  return typeof value === 'number' ? value : undefined;
}

/** The groups of a list, with their places. */
export function groups(value: unknown): readonly (readonly [index: number, item: Group])[] {
  return list(value).map((item, index) => [index, group(item)] as const);
}

/** `group` at the end of a path of names. */
export function groupAt(value: unknown, ...path: readonly string[]): Group {
  return path.reduce<Group>((within, name) => group(within[name]), group(value));
}
