import { duration } from './time.ts';
import { type Painter, feelOf } from './words.ts';

/** One line of a timeline: something that began, and took so long or still goes on. */
export interface TimelineRow {
  readonly name: string;
  /** Outcome, verdict or phase: decides icon and colour. */
  readonly state: string;
  /** ISO 8601; absent for what has not begun. */
  readonly startedAt?: string;
  /** Absent while it goes on. */
  readonly durationMs?: number;
  readonly detail?: string;
  /** Steps are drawn under their stage. */
  readonly indent?: number;
}

export interface TimelineOptions {
  readonly paint: Painter;
  readonly nowMs: number;
  /** Columns of the terminal. */
  readonly columns: number;
}

interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

/** Idle stretches longer than this part of the busy time are folded, so that a wait of half an hour does not squeeze the work flat. */
const foldAboveRatio = 0.5;
const maxBarColumns = 40;
const minBarColumns = 12;

/**
 * Draws rows as bars over one axis of time, each with icon, name, duration and state.
 *
 * @returns lines without a line break; none longer than the terminal is wide unless a name alone is.
 */
export function drawTimeline(rows: readonly TimelineRow[], options: TimelineOptions): string[] {
  const { paint, nowMs, columns } = options;
  const spans = rows.map((row) => spanOf(row, nowMs));
  const axis = foldedAxis(spans.filter((span) => span !== undefined));
  const nameWidth = Math.max(0, ...rows.map((row) => row.name.length + 2 * (row.indent ?? 0)));
  const timeWidth = Math.max(
    0,
    ...spans.map((span) => (span === undefined ? 0 : duration(span.toMs - span.fromMs).length)),
  );
  const stateWidth = Math.max(0, ...rows.map((row) => row.state.length));
  const spare = columns - nameWidth - timeWidth - stateWidth - 10;
  const width = Math.min(maxBarColumns, spare);
  return rows.map((row, index) => {
    const span = spans[index];
    const feel = feelOf(row.state);
    const name = `${' '.repeat(2 * (row.indent ?? 0))}${row.name}`.padEnd(nameWidth);
    const bar =
      width < minBarColumns ? '' : `${drawBar(span, axis, width, options, feel === 'bad' || feel === 'back')}  `;
    const time = (span === undefined ? '' : duration(span.toMs - span.fromMs)).padStart(timeWidth);
    const line = `${paint.icon(feel)} ${name}  ${bar === '' ? '' : paint.paint(feel, bar)}${time}  ${paint.paint(feel, row.state)}`;
    const used = 2 + nameWidth + 2 + bar.length + timeWidth + 2 + row.state.length;
    return row.detail === undefined
      ? line
      : `${line}${detailBeside(row, columns - used - stateWidth + row.state.length, stateWidth, paint)}`;
  });
}

/** What does not fit is cut: the whole sentence stands in the page of the run, and in `--json`. */
function detailBeside(row: TimelineRow, room: number, stateWidth: number, paint: Painter): string {
  const text = (row.detail ?? '').split('\n', 1)[0] ?? '';
  if (room < 12 || text === '') return '';
  const shown = text.length + 2 > room ? `${text.slice(0, room - 3)}…` : text;
  return paint.dim(`${' '.repeat(stateWidth - row.state.length)}  ${shown}`);
}

function spanOf(row: TimelineRow, nowMs: number): Span | undefined {
  if (row.startedAt === undefined) return undefined;
  const fromMs = Date.parse(row.startedAt);
  return { fromMs, toMs: row.durationMs === undefined ? Math.max(nowMs, fromMs) : fromMs + row.durationMs };
}

function drawBar(
  span: Span | undefined,
  axis: Axis,
  width: number,
  { paint }: TimelineOptions,
  emphasis: boolean,
): string {
  const full = paint.ascii ? (emphasis ? '#' : '=') : emphasis ? '█' : '━';
  const empty = paint.ascii ? ' ' : ' ';
  if (span === undefined || axis.totalMs === 0) return empty.repeat(width);
  const from = Math.min(width - 1, Math.floor((axis.place(span.fromMs) / axis.totalMs) * width));
  const to = Math.max(from + 1, Math.ceil((axis.place(span.toMs) / axis.totalMs) * width));
  return `${empty.repeat(from)}${full.repeat(Math.min(width, to) - from)}`.padEnd(width);
}

interface Axis {
  readonly totalMs: number;
  /** Where an instant lies on the axis, ms from its left end. */
  place(instantMs: number): number;
}

/** An axis on which long stretches without any span take as little room as a short one. */
function foldedAxis(spans: readonly Span[]): Axis {
  const busy: { fromMs: number; toMs: number }[] = [];
  for (const span of [...spans].sort((a, b) => a.fromMs - b.fromMs)) {
    const last = busy.at(-1);
    if (last !== undefined && span.fromMs <= last.toMs) last.toMs = Math.max(last.toMs, span.toMs);
    else busy.push({ ...span });
  }
  const busyMs = busy.reduce((sum, span) => sum + span.toMs - span.fromMs, 0);
  const longestGapMs = Math.max(1, busyMs * foldAboveRatio);
  const pieces: { readonly fromMs: number; readonly at: number; readonly lengthMs: number }[] = [];
  let at = 0;
  for (const [index, span] of busy.entries()) {
    const previous = busy[index - 1];
    if (previous !== undefined) at += Math.min(longestGapMs, span.fromMs - previous.toMs);
    pieces.push({ fromMs: span.fromMs, at, lengthMs: span.toMs - span.fromMs });
    at += span.toMs - span.fromMs;
  }
  return {
    totalMs: at,
    place(instantMs) {
      const piece = pieces.findLast((each) => each.fromMs <= instantMs);
      return piece === undefined ? 0 : piece.at + Math.min(instantMs - piece.fromMs, piece.lengthMs);
    },
  };
}

/** The same as a part of a page: two columns to the right, and none beyond its edge. */
export function indented(rows: readonly TimelineRow[], screen: TimelineOptions): readonly string[] {
  return drawTimeline(rows, { ...screen, columns: screen.columns - 2 }).map((line) => `  ${line}`);
}
