import type { ReportContent, ReportKind } from '../../domain/report.ts';

/** The bytes of one report, and how its paths are to be understood. */
export interface ReportSource {
  readonly bytes: AsyncIterable<Uint8Array>;
  /** As it is named in messages. */
  readonly path: string;
  /** Absolute path of the checkout as the tool saw it; what begins with it is shortened. Default: none. */
  readonly roots?: readonly string[];
  /** Folder the tool ran in, from the root of the repository. Default `.`. */
  readonly base?: string;
}

/**
 * Reads one form of report.
 *
 * A reader is given hostile content. It reads a stream once, in memory that does not grow with the report, opens nothing that the report
 * names, and knows the end of a report from its being cut off. What it cannot read to its end it does not read at all:
 *
 * @throws {@link UnreadableReport}: malformed, cut off, too large, or of another tool. Nothing else, for whatever bytes there are.
 */
export interface ReportReader {
  readonly kind: ReportKind;
  /** What usually makes this report, for messages: `flake8 --count`. */
  readonly made: string;
  /** Larger ones are refused unread. */
  readonly maxBytes: number;
  read(source: ReportSource): Promise<ReportContent>;
}

/** Why a report could not be read. A value for whoever judges it, never a failure of an activity. */
export class UnreadableReport extends Error {
  override readonly name = 'UnreadableReport';
  readonly remedy: string | undefined;
  /** Line, byte or path in the report. */
  readonly place: string | undefined;

  constructor(reason: string, options: { readonly remedy?: string; readonly place?: string } = {}) {
    super(reason);
    this.remedy = options.remedy;
    this.place = options.place;
  }
}

/** Streams are read in constant memory, so that only time limits them; judgement: a minute of a reader. */
export const mostStreamedBytes = 512 * 2 ** 20;

/** For what is held as a whole while it is read; judgement. */
export const mostHeldBytes = 16 * 2 ** 20;
