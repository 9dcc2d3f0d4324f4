import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { StageReport, StepReport } from '../domain/run.ts';

type Entry =
  | { readonly kind: 'start'; readonly step: number; readonly attempt: number }
  | { readonly kind: 'end'; readonly step: number; readonly report: StepReport }
  /** From here on the stage is done again from this step; what came after it before does not count. */
  | { readonly kind: 'again'; readonly from: number }
  | { readonly kind: 'settled'; readonly report: StageReport };

/** What is known of the earlier attempts at a stage. */
export interface StageHistory {
  /** Whether a step was ever started. */
  readonly begun: boolean;
  /** Reports of the steps that ended, in order and without a gap. */
  readonly ended: readonly StepReport[];
  /** Every step that was ever started, also before the stage was begun again. */
  readonly started: ReadonlySet<number>;
  /** The report, when only the word of it was lost. */
  readonly settled?: StageReport;
}

/** What a stage has done so far, for the attempt that comes after the death of its worker. */
export interface StageJournal {
  readonly history: StageHistory;
  started(step: number, attempt: number): void;
  ended(step: number, report: StepReport): void;
  again(from: number): void;
  settled(report: StageReport): void;
  close(): void;
}

/**
 * Opens the journal of a stage.
 *
 * @param durable - every entry reaches the disk before the call returns. Only then is a power failure survived, and only a stage with a
 *   step that may not be repeated, or may be resumed, has a use for that: any other is done again from a clean checkout.
 */
export function openJournal(folder: string, stage: string, durable: boolean): StageJournal {
  const path = join(folder, `${stage}.jsonl`);
  const history = readHistory(path);
  mkdirSync(dirname(path), { recursive: true });
  const file = openSync(path, 'a');

  function write(entry: Entry): void {
    writeSync(file, `${JSON.stringify(entry)}\n`);
    if (durable) fsyncSync(file);
  }
  return {
    history,
    started: (step, attempt) => write({ kind: 'start', step, attempt }),
    ended: (step, report) => write({ kind: 'end', step, report }),
    again: (from) => write({ kind: 'again', from }),
    settled: (report) => write({ kind: 'settled', report }),
    close: () => closeSync(file),
  };
}

/** Looks at the journal of a stage without opening it. */
export function readJournal(folder: string, stage: string): StageHistory {
  return readHistory(join(folder, `${stage}.jsonl`));
}

function readHistory(path: string): StageHistory {
  const started = new Set<number>();
  let ended: StepReport[] = [];
  let settled: StageReport | undefined;
  for (const entry of readEntries(path)) {
    if (entry.kind === 'start') started.add(entry.step);
    else if (entry.kind === 'end') ended = [...ended.slice(0, entry.step), entry.report];
    else if (entry.kind === 'again') ended = ended.slice(0, entry.from);
    else settled = entry.report;
  }
  return { begun: started.size > 0, ended, started, ...(settled === undefined ? {} : { settled }) };
}

function readEntries(path: string): Entry[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return [];
  }
  // What is behind the last newline was being written when the worker died.
  const lines = text.slice(0, text.lastIndexOf('\n') + 1).split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Entry);
}
