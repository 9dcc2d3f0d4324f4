import { describe, expect, test } from '@jest/globals';
import { createWorkspaceTurns } from '../../../src/activities/workspace-turns.ts';

const never = new AbortController().signal;
const soon = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('a workspace', () => {
  test('is made again once for all who want it, when the last other one has left', async () => {
    const turns = createWorkspaceTurns();
    const [one, two, other] = await Promise.all([1, 2, 3].map(() => turns.enter('/w', never)));
    let made = 0;
    const make = (): Promise<void> => Promise.resolve(void (made += 1));
    const waiting = [one!.renew(make, never), two!.renew(make, never)];
    await soon();
    expect(made).toBe(0);
    other!.leave();
    await Promise.all(waiting);
    expect(made).toBe(1);
  });

  test('is not entered while it is being made again', async () => {
    const turns = createWorkspaceTurns();
    const one = await turns.enter('/w', never);
    let finish = (): void => undefined;
    const renewed = one.renew(() => new Promise((resolve) => (finish = resolve)), never);
    await soon();
    let inside = false;
    const entered = turns.enter('/w', never).then(() => (inside = true));
    await soon();
    expect(inside).toBe(false);
    finish();
    await Promise.all([renewed, entered]);
    expect(inside).toBe(true);
  });

  test('that cannot be made again says so to all who wanted it, and the next one may try', async () => {
    const turns = createWorkspaceTurns();
    const [one, two] = await Promise.all([turns.enter('/w', never), turns.enter('/w', never)]);
    const failing = (): Promise<void> => Promise.reject(new Error('no disk'));
    const ends = await Promise.allSettled([one.renew(failing, never), two.renew(failing, never)]);
    expect(ends.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    two.leave();
    await expect(one.renew(() => Promise.resolve(), never)).resolves.toBeUndefined();
  });

  test('is not waited for after an abort', async () => {
    const turns = createWorkspaceTurns();
    const [one, busy] = await Promise.all([turns.enter('/w', never), turns.enter('/w', never)]);
    const stop = new AbortController();
    let made = 0;
    const waiting = one.renew(() => Promise.resolve(void (made += 1)), stop.signal);
    stop.abort(new Error('told to'));
    await expect(waiting).rejects.toThrow('told to');
    one.leave();
    busy.leave();
    await turns.enter('/w', never);
    expect(made).toBe(0);
  });
});
