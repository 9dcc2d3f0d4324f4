import { withoutControls } from '../../effects/control.ts';
import type { StoredRound } from '../../store/upkeep.ts';
import { relative } from '../time.ts';
import type { Screen } from './screen.ts';

/** The newest round of each thing; what is not well is told in full. */
export function upkeepList(found: readonly StoredRound[], { paint, nowMs }: Screen): string {
  if (found.length === 0) return 'No round of upkeep yet.';
  return found
    .flatMap(({ kind, subject, verdict, at, summary, lines }) => [
      `${paint.state(verdict)} ${paint.bold(`${kind} ${withoutControls(subject)}`)} ${paint.dim(relative(at, nowMs))}: ${withoutControls(summary)}`,
      ...(verdict === 'passed' ? [] : lines.map((line) => `    ${withoutControls(line)}`)),
    ])
    .join('\n');
}
