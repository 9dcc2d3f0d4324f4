import type { createFindings } from './findings.ts';
import { fileOf } from './findings.ts';
import { type ReportSource, UnreadableReport } from './port.ts';

/** How many lines of a file a tool would change, by the name of the file as the tool writes it. */
export async function changedLines(
  text: string,
  nameOf: (header: string) => string,
): Promise<ReadonlyMap<string, { readonly line: number; readonly lines: number }>> {
  const { parsePatch } = await import('diff');
  const start = text.search(/^--- /m);
  const changes = new Map<string, { line: number; lines: number }>();
  if (start < 0) return changes;
  // What the tool says beside its diff would be taken for lines of it.
  const kept = text
    .slice(start)
    .split('\n')
    .filter((line) => /^(?:--- |\+\+\+ |@@ |[-+ \\])/.test(line));
  let patches;
  try {
    patches = parsePatch(kept.join('\n'));
  } catch (error) {
    throw new UnreadableReport(
      `has a diff that was cut off or changed: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  for (const { oldFileName, hunks } of patches) {
    if (oldFileName === undefined) continue;
    const lines = hunks.reduce(
      (sum, hunk) => sum + hunk.lines.filter((line) => line.startsWith('-') || line.startsWith('+')).length,
      0,
    );
    changes.set(nameOf(oldFileName), { line: firstChange(hunks[0]), lines });
  }
  return changes;
}

/** A part of a diff begins with up to three lines that stay as they are; nobody looks for the mistake in these. */
function firstChange(hunk: { readonly oldStart: number; readonly lines: readonly string[] } | undefined): number {
  if (hunk === undefined) return 1;
  const before = hunk.lines.findIndex((line) => line.startsWith('-') || line.startsWith('+'));
  return hunk.oldStart + Math.max(0, before);
}

/** One finding for each file that is not in the form that a formatter would give it. */
export function addUnformatted(
  findings: ReturnType<typeof createFindings>,
  files: Iterable<string>,
  changes: ReadonlyMap<string, { readonly line: number; readonly lines: number }>,
  source: ReportSource,
  { rule, what }: { readonly rule: string; readonly what: string },
): void {
  for (const file of files) {
    const change = changes.get(file);
    findings.add({
      rule,
      severity: 'low',
      message: change === undefined ? what : `${what}: ${change.lines} lines would change`,
      file: fileOf(file, source),
      line: change?.line,
      // How much would change is no part of what the finding is.
      identity: what,
    });
  }
}
