import { describe, expect, test } from '@jest/globals';
import { renderProblems } from '../../../src/definition/render.ts';

const problem = {
  file: 'slipway.yaml',
  line: 2,
  column: 10,
  path: 'stages[0].timeout',
  message: '`soon` is no duration',
  hint: 'Write `5m`.',
};
const sources = new Map([['slipway.yaml', 'version: 1\ntimeout: soon\n']]);

describe('problems on a terminal', () => {
  test('show place, sentence, line, caret and what to do', () => {
    expect(renderProblems([problem], { color: false, sources })).toBe(
      [
        'slipway.yaml:2:10  stages[0].timeout `soon` is no duration',
        '  2 | timeout: soon',
        '    |          ^',
        '  → Write `5m`.',
        '',
        '1 problem in 1 file',
      ].join('\n'),
    );
  });

  test('use colours only when asked', () => {
    expect(renderProblems([problem], { color: true, sources })).toMatch(/\u001b\[/);
    expect(renderProblems([], { color: true })).toBe('');
  });

  test('keep the caret under its place in a long line', () => {
    const long = `${'x'.repeat(300)}HERE${'y'.repeat(300)}`;
    const lines = renderProblems([{ ...problem, line: 1, column: 301 }], {
      color: false,
      sources: new Map([['slipway.yaml', long]]),
    }).split('\n');
    const shown = lines[1] ?? '';
    expect(shown.length).toBeLessThan(120);
    expect(shown.slice((lines[2] ?? '').indexOf('^')).startsWith('HERE')).toBe(true);
  });

  test('do not show a line that may hold a secret', () => {
    const secret = new Map([['slipway.yaml', 'a\nurl: hunter2']]);
    expect(renderProblems([{ ...problem, sensitive: true }], { color: false, sources: secret })).not.toContain(
      'hunter2',
    );
  });

  test('let nothing in a document speak to the terminal', () => {
    const evil = new Map([['slipway.yaml', 'a\nx: \u001b[2J\u0007']]);
    const text = renderProblems([{ ...problem, message: 'is `\u001b[31m`' }], { color: false, sources: evil });
    expect(text).not.toContain('\u001b');
    expect(text).not.toContain('\u0007');
  });
});
