import type { TimelineOptions } from '../timeline.ts';

/** What a page is drawn with: colours, the present moment and the width of the terminal. */
export type Screen = TimelineOptions;
