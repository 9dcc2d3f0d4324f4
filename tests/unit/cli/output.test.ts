import { describe, expect, test } from '@jest/globals';
import { CliError, endingOf, exitCodeTable, exitCodes } from '../../../src/cli/exit.ts';
import { createTerminal } from '../../../src/cli/terminal.ts';
import { duration, parseDuration, relative } from '../../../src/cli/time.ts';
import { drawTimeline } from '../../../src/cli/timeline.ts';
import { createPainter, feelOf } from '../../../src/cli/words.ts';
import { outcomes } from '../../../src/domain/outcome.ts';

const plain = createPainter({ colour: false, ascii: false });

function capture(options: { json?: boolean; tty?: boolean; env?: Record<string, string> } = {}) {
  const out: string[] = [];
  const err: string[] = [];
  const terminal = createTerminal({
    json: options.json ?? false,
    stdout: { write: (text) => out.push(text), isTTY: options.tty ?? false, columns: 100 },
    stderr: { write: (text) => err.push(text) },
    stdin: { isTTY: false },
    env: options.env ?? {},
  });
  return { terminal, out: () => out.join(''), err: () => err.join('') };
}

describe('endings', () => {
  test('every outcome has one, and every status of the shell is in the table of the help', () => {
    for (const outcome of outcomes) expect(exitCodes[endingOf[outcome]]).toBeGreaterThanOrEqual(0);
    for (const code of Object.values(exitCodes)) expect(exitCodeTable).toMatch(new RegExp(`^ {2}${code} `, 'm'));
    expect(endingOf.succeeded).toBe('ok');
    expect(endingOf.superseded).toBe('conflict');
    expect(endingOf.errored).toBe('errored');
  });
});

describe('the terminal', () => {
  test('a result is text on stdout, and with --json one document with schema and outcome', () => {
    const text = capture();
    text.terminal.result('run', { number: 4 }, () => 'run 4');
    expect(text.out()).toBe('run 4\n');
    const json = capture({ json: true });
    json.terminal.result('run', { number: 4 }, () => 'run 4', 'failed');
    expect(JSON.parse(json.out())).toEqual({ schema: 'slipway/run/1', outcome: 'failed', number: 4 });
    expect(json.err()).toBe('');
  });

  test('a failure ends with the command to type, on stderr, or as data on stdout', () => {
    const next = [{ command: 'slipway approve hello/production/3 --plan 1f3a2b4c', when: 'to approve it' }];
    const error = new CliError('action-required', 'Somebody must approve.', { type: 'approval', next });
    const text = capture();
    text.terminal.fail(error);
    expect(text.out()).toBe('');
    expect(text.err()).toContain('Somebody must approve.');
    expect(text.err()).toContain('slipway approve hello/production/3 --plan 1f3a2b4c');
    const json = capture({ json: true });
    json.terminal.fail(error);
    expect(JSON.parse(json.out())).toMatchObject({
      schema: 'slipway/problem/1',
      outcome: 'action-required',
      status: 'action_required',
      reason: 'approval',
      next,
    });
  });

  test('colour only where it is wanted', () => {
    const coloured = (env: Record<string, string>, tty: boolean) =>
      capture({ env, tty }).terminal.paint.state('failed').includes('\u001b[');
    expect(coloured({}, true)).toBe(true);
    expect(coloured({}, false)).toBe(false);
    expect(coloured({ NO_COLOR: '1' }, true)).toBe(false);
    expect(coloured({ TERM: 'dumb' }, true)).toBe(false);
    expect(coloured({ FORCE_COLOR: '1' }, false)).toBe(true);
  });

  test('a state is icon and word, and plain characters where the terminal is dumb', () => {
    expect(plain.state('failed')).toBe('✖ failed');
    expect(createPainter({ colour: false, ascii: true }).state('failed')).toBe('x failed');
    expect(feelOf('awaiting-approval')).toBe('waiting');
    expect(feelOf('switching')).toBe('going');
  });

  test('in GitHub Actions a failure is an annotation too', () => {
    const actions = capture({ env: { GITHUB_ACTIONS: 'true' } });
    actions.terminal.fail(new CliError('failed', 'two\nlines'));
    expect(actions.err()).toContain('::error title=slipway failed::two%0Alines');
  });
});

describe('times', () => {
  test.each([
    [0, '0 ms'],
    [999, '999 ms'],
    [4250, '4.2 s'],
    [59_999, '59.9 s'],
    [200_000, '3 min 20 s'],
    [1_800_000, '30 min'],
    [7_500_000, '2 h 5 min'],
    [90_000_000, '1 d 1 h'],
  ])('%d ms is %s', (ms, text) => expect(duration(ms)).toBe(text));

  test.each([
    ['90', 90_000],
    ['90s', 90_000],
    ['1h30m', 5_400_000],
    ['250ms', 250],
    ['2min', 120_000],
    ['soon', undefined],
    ['5x', undefined],
    ['', undefined],
  ])('%s is %s ms', (text, ms) => expect(parseDuration(text)).toBe(ms));

  test('instants are told from now', () => {
    const now = Date.parse('2026-01-01T12:00:00Z');
    expect(relative('2026-01-01T11:57:30Z', now)).toBe('2 min ago');
    expect(relative('2026-01-01T12:30:00Z', now)).toBe('in 30 min');
    expect(relative('2026-01-01T12:00:00Z', now)).toBe('now');
  });
});

describe('the timeline', () => {
  const at = (seconds: number) => new Date(Date.parse('2026-01-01T12:00:00Z') + seconds * 1000).toISOString();
  const options = { paint: plain, nowMs: Date.parse(at(100)), columns: 100 };

  test('bars lie where their time lies', () => {
    const lines = drawTimeline(
      [
        { name: 'check', state: 'passed', startedAt: at(0), durationMs: 10_000 },
        { name: 'build', state: 'failed', startedAt: at(10), durationMs: 10_000, detail: 'exit code 1' },
      ],
      options,
    );
    const [first = '', second = ''] = lines;
    expect(first).toMatch(/^✔ check {2}━{20} {20} {2}10\.0 s {2}passed$/);
    expect(second).toMatch(/^✖ build {2} {20}█{20} {2}10\.0 s {2}failed {2}exit code 1$/);
  });

  test('what still goes on reaches to now, and what has not begun has no bar', () => {
    const [going = '', waiting = ''] = drawTimeline(
      [
        { name: 'watch', state: 'watching', startedAt: at(0) },
        { name: 'settle', state: 'queued' },
      ],
      options,
    );
    expect(going).toContain('1 min 40 s  watching');
    expect(waiting).not.toContain('━');
  });

  test('a long wait is folded, so that the work is seen', () => {
    const lines = drawTimeline(
      [
        { name: 'plan', state: 'passed', startedAt: at(-3600), durationMs: 10_000 },
        { name: 'roll', state: 'passed', startedAt: at(0), durationMs: 10_000 },
      ],
      options,
    );
    const bars = lines.map((line) => line.split('━').length - 1);
    expect(bars[0]).toBeGreaterThanOrEqual(10);
    expect(bars[1]).toBeGreaterThanOrEqual(10);
  });

  test('no line is wider than the terminal', () => {
    for (const columns of [40, 60, 80, 120]) {
      const lines = drawTimeline(
        [{ name: 'check', state: 'failed', startedAt: at(0), durationMs: 1234, detail: 'x'.repeat(300) }],
        { ...options, columns },
      );
      for (const line of lines) expect(line.length).toBeLessThanOrEqual(columns);
    }
  });
});
