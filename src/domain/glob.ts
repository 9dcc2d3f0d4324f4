/**
 * Whether a path of a repository matches a glob: `*` anything but `/`, `**` anything, `?` one character, `{a,b}` either. A `**` between
 * slashes also stands for no folder at all, so that `src/**` + `/*.ts` finds `src/a.ts` as it does everywhere else.
 *
 * Takes at most the product of the lengths, whatever the pattern: globs come from repositories.
 */
export function matchesPath(glob: string, path: string): boolean {
  return matches(compile(glob, true), path);
}

/** Whether a short ref (`feature/x`, `v1.2.0`, `pull/7/head`) matches a pattern. Letter case counts, as it does in Git. */
export function matchesRef(pattern: string, ref: string): boolean {
  return matches(compile(pattern, false), ref);
}

/**
 * One step of a pattern: a character, `?`, `*` (`segment`) and `**` (`anything`), after each of which the next one follows; or the steps
 * that a choice begins, and goes on, with.
 */
type Step =
  | { readonly kind: 'character'; readonly character: string }
  | { readonly kind: 'one' | 'segment' | 'anything' }
  | { readonly kind: 'fork'; readonly to: number[] };

/** `a{b,c}d` is `abd` or `acd`. Braces do not nest; an open one stands for itself. */
function compile(pattern: string, ofPaths: boolean): readonly Step[] {
  const steps: Step[] = [];
  let choice: { readonly close: number; readonly begins: number[]; readonly ends: number[][] } | undefined;
  const fork = (): number[] => {
    const to: number[] = [];
    steps.push({ kind: 'fork', to });
    return to;
  };
  for (let at = 0; at < pattern.length; at += 1) {
    const character = pattern[at] ?? '';
    const close = choice === undefined && character === '{' ? pattern.indexOf('}', at) : -1;
    if (close >= 0) {
      choice = { close, begins: fork(), ends: [] };
      choice.begins.push(steps.length);
    } else if (choice !== undefined && at === choice.close) {
      for (const end of choice.ends) end.push(steps.length);
      choice = undefined;
    } else if (choice !== undefined && character === ',') {
      choice.ends.push(fork());
      choice.begins.push(steps.length);
    } else if (ofPaths && pattern.startsWith('**/', at) && (at === 0 || pattern[at - 1] === '/')) {
      fork().push(steps.length, steps.length + 2);
      steps.push({ kind: 'anything' }, { kind: 'character', character: '/' });
      at += 2;
    } else if (pattern.startsWith('**', at)) {
      steps.push({ kind: 'anything' });
      at += 1;
    } else if (character === '*') steps.push({ kind: 'segment' });
    else if (character === '?') steps.push({ kind: 'one' });
    else steps.push({ kind: 'character', character });
  }
  return steps;
}

/** Goes along all ways through the steps at once, so that none is gone twice for the same character. */
function matches(steps: readonly Step[], text: string): boolean {
  let here: number[] = [];
  // By step, the character before which it was reached last.
  const reached = new Int32Array(steps.length + 1).fill(-1);

  /** Adds a step and those that follow it without a character. */
  function reach(first: number, before: number, into: number[]): void {
    const waiting = [first];
    for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
      if (reached[at] === before) continue;
      reached[at] = before;
      const step = steps[at];
      if (step?.kind === 'fork') {
        waiting.push(...step.to);
        continue;
      }
      into.push(at);
      if (step?.kind === 'segment' || step?.kind === 'anything') waiting.push(at + 1);
    }
  }

  reach(0, 0, here);
  for (let seen = 0; seen < text.length && here.length > 0; seen += 1) {
    const character = text[seen];
    const next: number[] = [];
    for (const at of here) {
      const step = steps[at];
      if (step === undefined || step.kind === 'fork') continue;
      if (step.kind === 'character' ? step.character !== character : step.kind !== 'anything' && character === '/')
        continue;
      const stays = step.kind === 'segment' || step.kind === 'anything';
      reach(stays ? at : at + 1, seen + 1, next);
    }
    here = next;
  }
  return here.includes(steps.length);
}
