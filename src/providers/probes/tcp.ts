import { connect } from 'node:net';
import type { TcpProbeSpec } from '../../definition/specs/probe.ts';
import type { Probe, ProbeTry } from './port.ts';

/** The port takes a connection. */
export function createTcpProbe(spec: TcpProbeSpec): Probe {
  return {
    name: spec.name,
    check: (subject, signal) =>
      new Promise<ProbeTry>((resolve, reject) => {
        const colon = subject.address.lastIndexOf(':');
        const began = performance.now();
        const socket = connect({
          host: subject.address.slice(0, colon),
          port: Number(subject.address.slice(colon + 1)),
        });
        const end = (verdict: ProbeTry['verdict'], what: string): void => {
          socket.destroy();
          resolve({
            verdict,
            detail: `tcp ${subject.address}: ${what} after ${Math.round(performance.now() - began)} ms`,
          });
        };
        socket.once('connect', () => end('passed', 'connected'));
        socket.once('error', (error: NodeJS.ErrnoException) => end('failed', error.code ?? error.message));
        signal.addEventListener(
          'abort',
          () => {
            const { reason } = signal as { reason: unknown };
            if ((reason as { name?: unknown } | undefined)?.name === 'TimeoutError') end('failed', 'no answer in time');
            else {
              socket.destroy();
              reject(reason instanceof Error ? reason : new Error(String(reason)));
            }
          },
          { once: true },
        );
      }),
  };
}
