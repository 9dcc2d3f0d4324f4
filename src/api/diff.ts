/** Lines around a change. */
const context = 3;

interface Line {
  readonly mark: ' ' | '-' | '+';
  readonly text: string;
}

/**
 * The change of a text in unified form; empty when there is none.
 */
export function unifiedDiff(before: string, after: string, name: string): string {
  if (before === after) return '';
  const lines = compare(split(before), split(after));
  const hunks = hunksOf(lines);
  return [`--- a/${name}`, `+++ b/${name}`, ...hunks.flatMap((hunk) => renderHunk(lines, hunk)), ''].join('\n');
}

function split(text: string): readonly string[] {
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines;
}

function compare(before: readonly string[], after: readonly string[]): readonly Line[] {
  let head = 0;
  while (head < before.length && head < after.length && before[head] === after[head]) head += 1;
  let tail = 0;
  while (
    tail < before.length - head &&
    tail < after.length - head &&
    before[before.length - 1 - tail] === after[after.length - 1 - tail]
  ) {
    tail += 1;
  }
  return [
    ...before.slice(0, head).map(unchanged),
    ...middle(before.slice(head, before.length - tail), after.slice(head, after.length - tail)),
    ...before.slice(before.length - tail).map(unchanged),
  ];
}

function unchanged(text: string): Line {
  return { mark: ' ', text };
}

/** Above this many pairs of lines the two texts have little in common, and all of one is said to have gone for all of the other. */
const mostPairs = 4_000_000;

/** The longest common subsequence, by the table of its lengths. */
function middle(before: readonly string[], after: readonly string[]): readonly Line[] {
  if (before.length * after.length > mostPairs) {
    return [
      ...before.map((text) => ({ mark: '-' as const, text })),
      ...after.map((text) => ({ mark: '+' as const, text })),
    ];
  }
  const width = after.length + 1;
  const lengths = new Uint32Array((before.length + 1) * width);
  const at = (row: number, column: number): number => lengths[row * width + column] ?? 0;
  for (let row = before.length - 1; row >= 0; row -= 1) {
    for (let column = after.length - 1; column >= 0; column -= 1) {
      lengths[row * width + column] =
        before[row] === after[column]
          ? at(row + 1, column + 1) + 1
          : Math.max(at(row + 1, column), at(row, column + 1));
    }
  }
  const lines: Line[] = [];
  let row = 0;
  let column = 0;
  while (row < before.length || column < after.length) {
    const old = before[row];
    const fresh = after[column];
    if (old !== undefined && old === fresh) {
      lines.push(unchanged(old));
      row += 1;
      column += 1;
    } else if (old !== undefined && (fresh === undefined || at(row + 1, column) >= at(row, column + 1))) {
      lines.push({ mark: '-', text: old });
      row += 1;
    } else {
      lines.push({ mark: '+', text: fresh ?? '' });
      column += 1;
    }
  }
  return lines;
}

interface Hunk {
  readonly from: number;
  readonly to: number;
}

function hunksOf(lines: readonly Line[]): readonly Hunk[] {
  const hunks: { from: number; to: number }[] = [];
  for (const [index, line] of lines.entries()) {
    if (line.mark === ' ') continue;
    const last = hunks.at(-1);
    const to = Math.min(lines.length, index + context + 1);
    if (last !== undefined && index - context <= last.to) last.to = to;
    else hunks.push({ from: Math.max(0, index - context), to });
  }
  return hunks;
}

function renderHunk(lines: readonly Line[], { from, to }: Hunk): readonly string[] {
  const count = (part: readonly Line[], mark: '-' | '+'): number =>
    part.filter((line) => line.mark === ' ' || line.mark === mark).length;
  const above = lines.slice(0, from);
  const shown = lines.slice(from, to);
  const old = `${count(above, '-') + 1},${count(shown, '-')}`;
  const fresh = `${count(above, '+') + 1},${count(shown, '+')}`;
  return [`@@ -${old} +${fresh} @@`, ...shown.map((line) => `${line.mark}${line.text}`)];
}
