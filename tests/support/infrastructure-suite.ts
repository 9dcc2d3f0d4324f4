import { describe, expect, test } from '@jest/globals';
import type { ProviderError } from '../../src/domain/failures.ts';
import type { ApplyRequest, Infrastructure, InfrastructureRequest } from '../../src/providers/infrastructures/port.ts';

/** A kind of infrastructure with a definition of one thing, whose value is the variable `colour`. */
export interface InfrastructureSubject {
  readonly infrastructure: Infrastructure;
  /** A folder with the definition, as a checkout brings it; a new one each time. */
  readonly folder: () => Promise<string>;
  /** What the thing is now; undefined where there is none. */
  readonly colour: () => Promise<string | undefined>;
  /** Names of the deployments of which a plan has left anything outside of its file. */
  readonly left?: () => Promise<readonly string[]>;
}

export const secretValue = 'kept-from-everybody-7261';

export function requestIn(
  folder: string,
  colour: string,
  more: Partial<InfrastructureRequest> = {},
): InfrastructureRequest {
  return {
    name: 'orders-production-12',
    folder,
    variables: { colour },
    secretVariables: { password: secretValue },
    env: {},
    secrets: { TOKEN_OF_SOMETHING: 'also-kept-from-everybody' },
    lockTimeoutMs: 1_000,
    timeoutMs: 120_000,
    ...more,
  };
}

export function applying(
  request: InfrastructureRequest,
  plan: ApplyRequest['plan'],
  more: Partial<ApplyRequest> = {},
): ApplyRequest {
  return { ...request, plan, keepState: () => Promise.resolve('nowhere'), ...more };
}

/** What every kind promises. `open` gives one with a state of its own. */
export function infrastructureSuite(name: string, open: () => Promise<InfrastructureSubject>): void {
  describe(name, () => {
    test('plans without a change, applies exactly that, and then has nothing to change', async () => {
      const { infrastructure, folder, colour } = await open();
      const red = requestIn(await folder(), 'red');
      const plan = await infrastructure.plan(red);
      expect(plan.summary.counts.create).toBeGreaterThanOrEqual(1);
      expect(plan.summary.changes.every(({ action }) => action === 'create')).toBe(true);
      expect(await colour()).toBeUndefined();
      expect(await infrastructure.readState(requestIn(await folder(), 'red'))).toBe(plan.state);

      const { state } = await infrastructure.apply(applying(requestIn(await folder(), 'never looked at'), plan));
      expect(await colour()).toBe('red');
      expect(state).not.toBe(plan.state);
      expect(await infrastructure.readState(requestIn(await folder(), 'red'))).toBe(state);

      const again = await infrastructure.plan(requestIn(await folder(), 'red'));
      expect(again.summary).toMatchObject({ changes: [], counts: { create: 0, update: 0, replace: 0, destroy: 0 } });
      const blue = await infrastructure.plan(requestIn(await folder(), 'blue'));
      expect(blue.summary.counts.create).toBe(0);
      expect(blue.summary.counts.update + blue.summary.counts.replace).toBeGreaterThanOrEqual(1);
      expect(blue.content.equals(again.content)).toBe(false);
    });

    test('refuses a plan whose state has changed, also one of no state, and changes nothing by it', async () => {
      const { infrastructure, folder, colour } = await open();
      const [first, second] = [
        await infrastructure.plan(requestIn(await folder(), 'red')),
        await infrastructure.plan(requestIn(await folder(), 'green')),
      ];
      await infrastructure.apply(applying(requestIn(await folder(), 'red'), first));
      await expect(infrastructure.apply(applying(requestIn(await folder(), 'green'), second))).rejects.toMatchObject({
        type: 'InfrastructureStale',
        retryable: false,
      });
      const third = await infrastructure.plan(requestIn(await folder(), 'blue'));
      const fourth = await infrastructure.plan(requestIn(await folder(), 'black'));
      await infrastructure.apply(applying(requestIn(await folder(), 'blue'), third));
      await expect(infrastructure.apply(applying(requestIn(await folder(), 'black'), fourth))).rejects.toMatchObject({
        type: 'InfrastructureStale',
      });
      // The one that was applied is no plan of the present state either.
      await expect(infrastructure.apply(applying(requestIn(await folder(), 'blue'), third))).rejects.toMatchObject({
        type: 'InfrastructureStale',
      });
      expect(await colour()).toBe('blue');
    });

    test('shows no value of anything, in its summary, its lines and what it fails with', async () => {
      const { infrastructure, folder } = await open();
      const lines: string[] = [];
      const plan = await infrastructure.plan(requestIn(await folder(), 'red', { onLine: (line) => lines.push(line) }));
      const applied = await infrastructure.apply(
        applying(requestIn(await folder(), 'red', { onLine: (line) => lines.push(line) }), plan),
      );
      const failure = await infrastructure
        .plan(requestIn(await folder(), 'refused', { onLine: (line) => lines.push(line) }))
        .then(
          () => undefined,
          (error: unknown) => error as ProviderError,
        );
      expect(failure).toMatchObject({ type: 'InfrastructureFailed', retryable: false });
      expect(failure?.message).toContain('no such colour');
      const { content, ...shown } = plan;
      expect(content.length).toBeGreaterThan(0);
      const told = JSON.stringify([shown, applied, lines, failure?.message, failure?.details]);
      expect(lines.length).toBeGreaterThan(0);
      expect(told).not.toContain(secretValue);
      expect(told).not.toContain('also-kept-from-everybody');
    });

    test('has nothing left of a plan that nobody wants any more, and what was applied stays', async () => {
      const { infrastructure, folder, colour, left } = await open();
      const red = await infrastructure.plan(requestIn(await folder(), 'red'));
      await infrastructure.apply(applying(requestIn(await folder(), 'red'), red));
      await infrastructure.plan(requestIn(await folder(), 'blue'));
      await infrastructure.plan(requestIn(await folder(), 'green', { name: 'orders-production-13' }));
      await infrastructure.discard?.(requestIn(await folder(), 'blue'));
      await infrastructure.discard?.(requestIn(await folder(), 'blue'));
      // Of another deployment it stays.
      const others = infrastructure.discard === undefined ? [] : ['orders-production-13'];
      expect((await left?.()) ?? []).toEqual(others);
      expect(await colour()).toBe('red');
      expect((await infrastructure.plan(requestIn(await folder(), 'red'))).summary.changes).toEqual([]);
    });

    test('ends when it is told to, with the reason it was given', async () => {
      const { infrastructure, folder } = await open();
      const stop = new AbortController();
      const reason = new Error('no longer wanted');
      const planning = infrastructure.plan(requestIn(await folder(), 'slow', { signal: stop.signal }));
      stop.abort(reason);
      await expect(planning).rejects.toBe(reason);
    });
  });
}
