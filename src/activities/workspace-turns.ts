import { unlessAborted } from '../effects/waits.ts';

/** Who works in the workspaces of this worker. Only this process does: a workspace belongs to one worker, whose queue says so. */
export interface WorkspaceTurns {
  /** Begins to work in a workspace, and waits while it is being made again. */
  enter(path: string, signal: AbortSignal): Promise<WorkspaceTurn>;
}

/** One stage that works in a workspace. */
export interface WorkspaceTurn {
  /**
   * Makes the workspace again, as soon as everybody else who works in it has left or wants the same: one clean checkout serves all of them.
   *
   * @throws what `make` throws, or the signal's reason.
   */
  renew(make: () => Promise<void>, signal: AbortSignal): Promise<void>;
  leave(): void;
}

interface Place {
  workers: number;
  waiting: number;
  renewal: Renewal | undefined;
}

interface Renewal {
  readonly make: () => Promise<void>;
  readonly done: Deferred<undefined>;
  begun: boolean;
}

export function createWorkspaceTurns(): WorkspaceTurns {
  const places = new Map<string, Place>();

  /** Nobody works in it who does not wait for this. */
  function begin(place: Place): void {
    const { renewal } = place;
    if (renewal === undefined || renewal.begun || place.waiting < place.workers) return;
    renewal.begun = true;
    const end = (): void => void (place.renewal = undefined);
    renewal.make().then(
      () => {
        end();
        renewal.done.resolve(undefined);
      },
      (error: unknown) => {
        end();
        renewal.done.reject(error);
      },
    );
  }

  return {
    async enter(path, signal) {
      const place = places.get(path) ?? { workers: 0, waiting: 0, renewal: undefined };
      places.set(path, place);
      while (place.renewal !== undefined) {
        await unlessAborted(
          place.renewal.done.promise.catch(() => undefined),
          signal,
        );
      }
      place.workers += 1;
      let here = true;
      return {
        async renew(make, until) {
          const renewal = place.renewal ?? { make, done: deferred<undefined>(), begun: false };
          // Those who wait for it are told; there may be none left.
          renewal.done.promise.catch(() => undefined);
          place.renewal = renewal;
          place.waiting += 1;
          begin(place);
          try {
            await unlessAborted(renewal.done.promise, until);
          } finally {
            place.waiting -= 1;
            // Whoever leaves without it takes it along, if nobody else waits for it.
            if (place.waiting === 0 && !renewal.begun && place.renewal === renewal) {
              place.renewal = undefined;
              renewal.done.resolve(undefined);
            }
          }
        },
        leave() {
          if (!here) return;
          here = false;
          place.workers -= 1;
          begin(place);
          if (place.workers === 0 && place.renewal === undefined) places.delete(path);
        },
      };
    },
  };
}

interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (reason: unknown) => void;
}

function deferred<T>(): Deferred<T> {
  let settle: Pick<Deferred<T>, 'resolve' | 'reject'> | undefined;
  const promise = new Promise<T>((resolve, reject) => (settle = { resolve, reject }));
  if (settle === undefined) throw new TypeError('a promise calls what it is made with at once');
  return { promise, ...settle };
}
