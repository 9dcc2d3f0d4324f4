import { type ReportSource, UnreadableReport, mostHeldBytes } from './port.ts';

/** What parsers are given at once, so that their own limits are looked at often enough. */
const pieceBytes = 64 * 1024;

/** What a report may be written in. `windows-1252` stands for Latin-1 too. */
export type Encoding = 'utf-8' | 'windows-1252';

/** Longest line of a report that is read line by line; judgement. */
const longestLine = 256 * 1024;

/**
 * The text of a report, in pieces.
 *
 * @param encoding - default: UTF-8.
 * @throws {@link UnreadableReport}: empty, larger than `maxBytes`, not of that encoding, or with NUL in it.
 */
export async function* decode(
  { bytes }: Pick<ReportSource, 'bytes'>,
  maxBytes: number,
  encoding: Encoding = 'utf-8',
): AsyncGenerator<string> {
  const decoder = new TextDecoder(encoding, { fatal: true });
  let read = 0;
  for await (const chunk of bytes) {
    for (let start = 0; start < chunk.length; start += pieceBytes) {
      const piece = chunk.subarray(start, start + pieceBytes);
      if (read === 0) refuseOtherEncodings(piece);
      read += piece.length;
      if (read > maxBytes) throw tooLarge(maxBytes);
      const nul = piece.indexOf(0);
      if (nul >= 0) throw noText(read - piece.length + nul, 'holds a NUL byte');
      const text = decodePiece(decoder, piece, read);
      if (text !== '') yield text;
    }
  }
  if (read === 0) throw new UnreadableReport('is empty');
  const rest = decodePiece(decoder, undefined, read);
  if (rest !== '') yield rest;
}

/** The reason that a report is not read at all for its size. */
export function tooLarge(maxBytes: number): UnreadableReport {
  return new UnreadableReport(`is larger than the ${Math.round(maxBytes / 2 ** 20)} MiB that are read`, {
    remedy: 'Let the tool look at less at once and write several reports.',
  });
}

function decodePiece(decoder: InstanceType<typeof TextDecoder>, piece: Uint8Array | undefined, read: number): string {
  try {
    return piece === undefined ? decoder.decode() : decoder.decode(piece, { stream: true });
  } catch {
    throw piece === undefined
      ? new UnreadableReport('ends in the middle of a character: it was cut off', { place: `byte ${read}` })
      : noText(read - piece.length, 'is not UTF-8');
  }
}

function refuseOtherEncodings(start: Uint8Array): void {
  const [first, second] = start;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) throw noText(0, 'is UTF-16');
}

function noText(byte: number, what: string): UnreadableReport {
  return new UnreadableReport(what, { place: `byte ${byte}`, remedy: 'Let the tool write its report as UTF-8.' });
}

export interface Line {
  readonly text: string;
  /** From 1. */
  readonly number: number;
  /** False for a last line without its line break: it may have been cut off. */
  readonly whole: boolean;
}

/** The lines of a report, without their line breaks; many at once, for one at a time costs more than reading it. */
export async function* lines(source: Pick<ReportSource, 'bytes'>, maxBytes: number): AsyncGenerator<readonly Line[]> {
  let rest = '';
  let number = 0;
  for await (const piece of decode(source, maxBytes)) {
    const parts = (rest + piece).split('\n');
    rest = parts.pop() ?? '';
    yield parts.map((part) => {
      number += 1;
      return { text: part.endsWith('\r') ? part.slice(0, -1) : part, number, whole: true };
    });
    if (rest.length > longestLine) {
      throw new UnreadableReport(`has a line of more than ${longestLine} characters`, { place: `line ${number + 1}` });
    }
  }
  if (rest !== '') yield [{ text: rest, number: number + 1, whole: false }];
}

/** All of a report that is small by nature. */
export async function whole(source: Pick<ReportSource, 'bytes'>, maxBytes = mostHeldBytes): Promise<string> {
  const pieces: string[] = [];
  for await (const piece of decode(source, maxBytes)) pieces.push(piece);
  return pieces.join('');
}
