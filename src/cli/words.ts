import picocolors from 'picocolors';
import type { Outcome } from '../domain/outcome.ts';
import type { Verdict } from '../domain/verdict.ts';

type Colour = 'green' | 'red' | 'yellow' | 'cyan' | 'dim' | 'magenta';

/** How a state looks: never by colour alone, and one column wide everywhere. */
interface Look {
  readonly icon: string;
  /** Where the terminal is dumb. */
  readonly plain: string;
  readonly colour: Colour;
}

const looks = {
  good: { icon: '✔', plain: '+', colour: 'green' },
  bad: { icon: '✖', plain: 'x', colour: 'red' },
  unknown: { icon: '!', plain: '!', colour: 'yellow' },
  back: { icon: '↩', plain: '<', colour: 'magenta' },
  stopped: { icon: '■', plain: '-', colour: 'yellow' },
  waiting: { icon: '◌', plain: '.', colour: 'yellow' },
  going: { icon: '●', plain: '>', colour: 'cyan' },
  quiet: { icon: '·', plain: '.', colour: 'dim' },
} as const satisfies Record<string, Look>;

export type Feel = keyof typeof looks;

const feelOfWord: Readonly<Record<Outcome | Verdict, Feel>> = {
  succeeded: 'good',
  passed: 'good',
  failed: 'bad',
  errored: 'unknown',
  inconclusive: 'unknown',
  rejected: 'stopped',
  expired: 'stopped',
  superseded: 'stopped',
  aborted: 'stopped',
  'rolled-back': 'back',
  'rollback-failed': 'bad',
  'rollback-unavailable': 'bad',
  held: 'bad',
};

const waitingWords = ['accepted', 'queued', 'awaiting-approval', 'awaiting-word', 'waiting'];

/** What kind of thing a word of the domain is: an outcome, a verdict, a phase. */
export function feelOf(word: string): Feel {
  if (Object.hasOwn(feelOfWord, word)) return feelOfWord[word as Outcome];
  return waitingWords.includes(word) ? 'waiting' : 'going';
}

/** Draws with what the terminal can show. */
export interface Painter {
  /** Icon and word, in its colour. */
  state(word: string): string;
  icon(feel: Feel): string;
  paint(feel: Feel, text: string): string;
  bold(text: string): string;
  dim(text: string): string;
  /** True where only plain characters may be used. */
  readonly ascii: boolean;
}

export function createPainter(options: { readonly colour: boolean; readonly ascii: boolean }): Painter {
  const colours = picocolors.createColors(options.colour);
  const glyph = (feel: Feel): string => (options.ascii ? looks[feel].plain : looks[feel].icon);
  const paint = (feel: Feel, text: string): string => colours[looks[feel].colour](text);
  return {
    state: (word) => paint(feelOf(word), `${glyph(feelOf(word))} ${word}`),
    icon: (feel) => paint(feel, glyph(feel)),
    paint,
    bold: colours.bold,
    dim: colours.dim,
    ascii: options.ascii,
  };
}
