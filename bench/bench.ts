/** What a bench found out. Times are milliseconds unless the name says otherwise; null where something could not be measured here. */
export interface BenchResult {
  readonly figures: Readonly<Record<string, Figure>>;
  readonly ratios?: Readonly<Record<string, number>>;
  /** For a person: what was measured how, and what was not. */
  readonly notes?: readonly string[];
}

export type Figure = number | string | boolean | null | { readonly [name: string]: Figure };

export interface BenchOptions {
  /** How many of whatever the bench counts; each has its own default. */
  readonly n?: number | undefined;
  /** Where the bench keeps an installation of its own. */
  readonly stateFolder: string;
  /** Tells a person what happens. */
  readonly say: (line: string) => void;
  /** Runs when the bench is over, the last one first, also after an error. */
  readonly onEnd: (cleanUp: () => Promise<void> | void) => void;
}

/** One bench: sets up what it needs, measures its baseline in the same run, and throws only for a wrong result, never for a slow one. */
export interface Bench {
  readonly summary: string;
  run(options: BenchOptions): Promise<BenchResult>;
}

/** A result that is wrong, whatever its figures. */
export class WrongResult extends Error {
  override readonly name = 'WrongResult';
}

/** @throws WrongResult */
export function expectRight(right: boolean, what: string): asserts right {
  if (!right) throw new WrongResult(what);
}
