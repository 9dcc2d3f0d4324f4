import { CancellationScope, sleep } from '@temporalio/workflow';

/** Tells people of something that takes longer than it should while it still goes on: afterwards nobody can help any more. */
export class Alarm {
  readonly #scope = new CancellationScope({ cancellable: true });

  /**
   * @param ms - from now; 0 or less tells at once.
   * @param what - what people read of its timer.
   * @param tell - called once, and never after {@link Alarm.stop}.
   */
  constructor(ms: number, what: string, tell: () => void) {
    const ring = async (): Promise<void> => {
      if (ms > 0) await sleep(ms, { summary: what });
      tell();
    };
    // Stopped, its timer ends as cancelled, which is nobody's failure.
    this.#scope.run(ring).catch(() => undefined);
  }

  stop(): void {
    this.#scope.cancel();
  }
}
