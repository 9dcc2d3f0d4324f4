import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { StageReport, StepReport } from '../domain/run.ts';

type Entry =
  /** An attempt at the stage begins; how often the workspace had been made again by then. */
  | { readonly kind: 'begin'; readonly generation: number }
  | { readonly kind: 'start'; readonly step: number; readonly attempt: number }
  | { readonly kind: 'end'; readonly step: number; readonly report: StepReport }
  /** A step failed and is tried again; this is the number of the try. */
  | { readonly kind: 'try'; readonly step: number; readonly number: number }
  | { readonly kind: 'outputs'; readonly step: number; readonly values: Readonly<Record<string, string>> }
  /** From here on the stage is done again from this step; what came after it before does not count. */
  | { readonly kind: 'again'; readonly from: number }
  | { readonly kind: 'settled'; readonly report: StageReport };

/** What is known of the earlier attempts at a stage. */
export interface StageHistory {
  /** Whether a step was ever started. */
  readonly begun: boolean;
  /** Reports of the steps that ended. */
  readonly ended: ReadonlyMap<number, StepReport>;
  /** Which try of a step was running, where it was not the first. */
  readonly tries: ReadonlyMap<number, number>;
  /** What steps that ended handed on. */
  readonly outputs: ReadonlyMap<number, Readonly<Record<string, string>>>;
  /** How often the workspace had been made again when the last attempt began. */
  readonly generation: number;
  /** Every step that was ever started, also before the stage was begun again. */
  readonly started: ReadonlySet<number>;
  /** The report, when only the word of it was lost. */
  readonly settled?: StageReport;
}

/** What a stage has done so far, for the attempt that comes after the death of its worker. */
export interface StageJournal {
  readonly history: StageHistory;
  begin(generation: number): void;
  started(step: number, attempt: number): void;
  tried(step: number, number: number): void;
  handedOn(step: number, values: Readonly<Record<string, string>>): void;
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
    begin: (generation) => write({ kind: 'begin', generation }),
    started: (step, attempt) => write({ kind: 'start', step, attempt }),
    tried: (step, number) => write({ kind: 'try', step, number }),
    handedOn: (step, values) => write({ kind: 'outputs', step, values }),
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
  const ended = new Map<number, StepReport>();
  const tries = new Map<number, number>();
  const outputs = new Map<number, Readonly<Record<string, string>>>();
  let generation = 0;
  let settled: StageReport | undefined;
  for (const entry of readEntries(path)) {
    switch (entry.kind) {
      case 'begin':
        generation = entry.generation;
        break;
      case 'start':
        started.add(entry.step);
        break;
      case 'try':
        tries.set(entry.step, entry.number);
        break;
      case 'outputs':
        outputs.set(entry.step, entry.values);
        break;
      case 'end':
        ended.set(entry.step, entry.report);
        break;
      case 'again':
        for (const known of [ended, tries, outputs]) {
          for (const step of [...known.keys()]) if (step >= entry.from) known.delete(step);
        }
        break;
      case 'settled':
        settled = entry.report;
    }
  }
  return {
    begun: started.size > 0,
    ended,
    tries,
    outputs,
    started,
    generation,
    ...(settled === undefined ? {} : { settled }),
  };
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
