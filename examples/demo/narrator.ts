import { type Painter, createPainter } from '../../src/cli/words.ts';
import { duration } from '../../src/cli/time.ts';

/** One thing that had to be so, and whether it was. */
export interface Check {
  readonly act: string;
  readonly what: string;
  readonly held: boolean;
  readonly seen: string;
}

/** Tells the story while it happens. No wait is silent: on a terminal one line is kept alive, elsewhere a line comes every few seconds. */
export interface Narrator {
  readonly paint: Painter;
  readonly checks: readonly Check[];
  act(title: string): void;
  say(text: string): void;
  /** Prints a page as it is, indented. */
  show(page: string): void;
  /** Records whether something was as it had to be. A story goes on after a `false`: the rest is worth seeing too. */
  check(what: string, held: boolean, seen?: string): void;
  /**
   * Looks again and again until `look` gives something, and says meanwhile what `status` says.
   *
   * @throws Error - the time was over; it names what was waited for and what was seen last.
   */
  wait<T>(what: string, look: () => Promise<T | undefined>, options: WaitOptions): Promise<T>;
}

export interface WaitOptions {
  readonly timeoutMs: number;
  /** What happens now, one short phrase; where lines cannot be replaced, a change of it is worth a line. */
  readonly status?: () => string;
  /** Figures beside it, shown with it and not worth a line of their own. */
  readonly figures?: () => string;
  /** Between two looks. Default 150. */
  readonly everyMs?: number;
}

export interface NarratorOptions {
  readonly write: (text: string) => void;
  readonly live: boolean;
  readonly colour: boolean;
  /** Width of the terminal; a line that is replaced must not be longer. Default 100. */
  readonly columns?: number;
}

const quietMs = 4_000;
const redrawMs = 200;

export function createNarrator({ write, live, colour, columns = 100 }: NarratorOptions): Narrator {
  const paint = createPainter({ colour, ascii: false });
  const checks: Check[] = [];
  const beganMs = Date.now();
  let act = 'setting up';
  let open = false;

  // A line that is still being replaced must be gone before another one is written under it.
  const line = (text: string): void => {
    if (open) write('\r\u001b[2K');
    open = false;
    write(`${text}\n`);
  };
  const stamp = (): string => paint.dim(`${((Date.now() - beganMs) / 1000).toFixed(1).padStart(6)} s`);

  return {
    paint,
    get checks() {
      return checks;
    },
    act(title) {
      act = title;
      line(`\n${paint.bold(title)}`);
    },
    say: (text) => line(`${stamp()}  ${text}`),
    show: (page) => line(page.replaceAll(/^/gm, '            ')),
    check(what, held, seen = '') {
      checks.push({ act, what, held, seen });
      const detail = seen === '' ? '' : paint.dim(` (${seen})`);
      line(
        `${stamp()}  ${paint.icon(held ? 'good' : 'bad')} ${held ? what : paint.paint('bad', `NOT SO: ${what}`)}${detail}`,
      );
    },
    async wait(what, look, { timeoutMs, status = () => '', figures = () => '', everyMs = 150 }) {
      const startedMs = Date.now();
      let lastStatus = '';
      let saidMs = 0;
      let lastError: unknown;
      for (;;) {
        try {
          const found = await look();
          if (found !== undefined) return found;
          lastError = undefined;
        } catch (error) {
          // While a process of Slipway is being replaced nothing answers: that is part of the story.
          lastError = error;
        }
        const waitedMs = Date.now() - startedMs;
        const now = status();
        if (waitedMs > timeoutMs) {
          const seen = lastError instanceof Error ? lastError.message : now;
          throw new Error(`waited ${duration(waitedMs)} for ${what}; last seen: ${seen === '' ? 'nothing' : seen}`);
        }
        const text = [`${what}${now === '' ? '' : `: ${now}`}`, figures()].filter((part) => part !== '').join('; ');
        if (live && Date.now() - saidMs >= redrawMs) {
          const time = `(${duration(waitedMs)})`;
          const shown = text.slice(0, Math.max(10, columns - time.length - 14));
          write(`\r\u001b[2K${stamp()}  ${paint.paint('going', `… ${shown}`)} ${paint.dim(time)}`);
          open = true;
          saidMs = Date.now();
        } else if (!live && (now !== lastStatus || Date.now() - saidMs >= quietMs)) {
          line(`${stamp()}  … ${text} (${duration(waitedMs)})`);
          saidMs = Date.now();
        }
        lastStatus = now;
        await new Promise((resolve) => setTimeout(resolve, everyMs));
      }
    },
  };
}
