import picocolors from 'picocolors';
import type { Problem } from './problems.ts';

export interface RenderOptions {
  readonly color: boolean;
  /** Texts by file; with them each problem shows its line. */
  readonly sources?: ReadonlyMap<string, string>;
  /** What they are. Default: problems. */
  readonly are?: 'problems' | 'warnings';
}

/** Widest part of a line that is shown; longer ones are cut round the place. */
const widest = 100;

/**
 * Problems for a terminal: place, what is wrong, the line with a caret, what to do; then how many there were.
 *
 * Lines that may hold what should have been a secret are not shown: output of a validation is kept by CI systems.
 */
export function renderProblems(problems: readonly Problem[], options: RenderOptions): string {
  const paint = picocolors.createColors(options.color);
  const blocks = problems.map((problem) => {
    const place = `${problem.file}:${problem.line}:${problem.column}`;
    const subject = problem.path === '' ? '' : `${paint.bold(problem.path)} `;
    const text = problem.sensitive === true ? undefined : options.sources?.get(problem.file);
    const source = text?.split(/\r?\n/)[problem.line - 1];
    return [
      `${paint.cyan(place)}  ${subject}${printable(problem.message)}`,
      ...(source === undefined || source.trim() === '' ? [] : excerpt(source, problem, paint)),
      ...(problem.hint === undefined ? [] : [`  ${paint.green('→')} ${printable(problem.hint)}`]),
    ].join('\n');
  });
  const files = new Set(problems.map(({ file }) => file)).size;
  const noun = options.are === 'warnings' ? 'warning' : 'problem';
  const count = `${problems.length} ${noun}${problems.length === 1 ? '' : 's'} in ${files} file${files === 1 ? '' : 's'}`;
  return problems.length === 0
    ? ''
    : [...blocks, noun === 'warning' ? paint.yellow(count) : paint.red(count)].join('\n\n');
}

function excerpt(
  source: string,
  problem: Problem,
  paint: ReturnType<typeof picocolors.createColors>,
): readonly string[] {
  const number = String(problem.line);
  const margin = ' '.repeat(number.length);
  const from = Math.max(0, Math.min(problem.column - 1 - widest / 2, source.length - widest));
  const shown = printable(source.slice(from, from + widest));
  const caret = Math.max(0, Math.min(problem.column - 1, source.length) - from);
  return [
    `  ${paint.dim(`${number} |`)} ${shown}`,
    `  ${paint.dim(`${margin} |`)} ${' '.repeat(caret)}${paint.red('^')}`,
  ];
}

/** A document is foreign: nothing in it may move the cursor or change the colours of whoever looks at its mistakes. */
function printable(text: string): string {
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, (character) => (character === '\t' ? ' ' : '�'));
}
