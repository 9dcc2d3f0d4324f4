/** What a person most likely meant, for `Did you mean …?`; `undefined` when nothing is near. */
export function suggest(written: string, known: readonly string[]): string | undefined {
  const plain = simplify(written);
  const same = known.find((name) => simplify(name) === plain);
  if (same !== undefined) return same;
  // One slip in three letters, judgement: `stges` finds `stages`, `cat` does not find `env`.
  const most = plain.length < 2 ? 0 : Math.max(1, Math.floor(plain.length / 3));
  let best: { name: string; distance: number } | undefined;
  for (const name of known) {
    const distance = editDistance(plain, simplify(name), most);
    if (distance <= most && distance < (best?.distance ?? Infinity)) best = { name, distance };
  }
  return best?.name;
}

/** Did-you-mean as a sentence, or what there is to choose from when nothing is near. */
export function suggestion(written: string, known: readonly string[]): string {
  const near = suggest(written, known);
  if (near !== undefined) return `Did you mean \`${near}\`?`;
  return known.length === 0
    ? 'There is nothing to choose from.'
    : `There is: ${known.map((name) => `\`${name}\``).join(', ')}.`;
}

/** Letters and digits only: `stall_after`, `stall-after` and `StallAfter` are all `stallAfter`. */
function simplify(name: string): string {
  return name
    .slice(0, 64)
    .toLowerCase()
    .replaceAll(/[^a-z0-9]/g, '');
}

/** Insertions, deletions, replacements and swaps of neighbours between two short words; anything above `most` may come out too small. */
function editDistance(from: string, to: string, most: number): number {
  if (Math.abs(from.length - to.length) > most) return most + 1;
  let before: number[] = [];
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let i = 1; i <= from.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= to.length; j += 1) {
      const same = from[i - 1] === to[j - 1];
      let cost = Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + (same ? 0 : 1));
      if (i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1]) {
        cost = Math.min(cost, (before[j - 2] ?? 0) + 1);
      }
      next.push(cost);
    }
    before = row;
    row = next;
  }
  return row[to.length] ?? 0;
}
