import { Buffer } from 'node:buffer';

/** Takes from a stream what a terminal would obey, but for colours. */
export interface ControlFilter {
  /** What may pass; the beginning of a sequence waits for the next chunk. */
  push(chunk: Buffer): Buffer;
  /** What was still waiting. */
  end(): Buffer;
}

const none = Buffer.alloc(0);
/** A sequence that is longer is none; its first byte goes, the rest is text. */
const longestSequence = 4_096;
/** Of bytes as latin1: whatever is not text, tab, line feed or carriage return, and the beginning of what may be such. */
const suspicious = /[\0-\b\v\f\x0e-\x1f\x7f]|\xc2(?:[\x80-\x9f]|$)/;
/** CSI, then strings (OSC, DCS, PM, APC, SOS) with their end, other escapes, C1 as UTF-8, and single bytes. */
const sequences =
  /\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-OQ-WYZ\\`-~]|\xc2[\x80-\x9f]|[\0-\b\v\f\x0e-\x1f\x7f]/g;
const unfinished = /(?:\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]*\x1b?|[ -/]*)?|\xc2)$/;
const colour = /^\x1b\[[0-9;:]*m$/;

/**
 * Makes output safe to be shown: nothing in it moves the cursor, renames the window, hides what was said before or answers in the reader's
 * name. Colours stay, and so does the carriage return of progress bars. Bytes that are no text of any encoding pass as they are.
 */
export function createControlFilter(): ControlFilter {
  let held = none;
  return {
    push(chunk) {
      const bytes = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
      const text = bytes.toString('latin1');
      if (!suspicious.test(text)) {
        held = none;
        return bytes;
      }
      const open = unfinished.exec(text);
      const end = open === null || text.length - open.index > longestSequence ? text.length : open.index;
      // A copy, for the chunk belongs to its stream.
      held = end === text.length ? none : Buffer.from(bytes.subarray(end));
      return clean(text.slice(0, end));
    },
    end() {
      const rest = clean(held.toString('latin1'));
      held = none;
      return rest;
    },
  };
}

function clean(text: string): Buffer {
  return Buffer.from(
    text.replaceAll(sequences, (match) => (colour.test(match) ? match : '')),
    'latin1',
  );
}

/** As {@link createControlFilter}, for a whole text. */
export function withoutControls(text: string): string {
  const filter = createControlFilter();
  return Buffer.concat([filter.push(Buffer.from(text)), filter.end()]).toString();
}
