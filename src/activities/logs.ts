import type { DeploymentRef } from '../domain/deployment.ts';
import type { RunRef } from '../domain/run.ts';
import type { Redactor } from '../effects/redact.ts';

/** Which log of a run or of a deployment: one for each attempt at each step. */
export type LogName = {
  readonly stage: string;
  readonly step: string;
  readonly attempt: number;
} & ({ readonly run: RunRef } | { readonly deployment: DeploymentRef });

/** Takes the output of a step; what is in it can be read while it is written. */
export interface LogWriter {
  /** While the promise is open nothing more should be written. The chunk is the callee's only until then. */
  write(chunk: Buffer): void | Promise<void>;
  /** Says something in Slipway's own name, on a line of its own. */
  say(line: string): void;
  /** Everything was handed on; never throws. */
  close(): Promise<void>;
}

/** Where logs go. Losing one never fails a step. */
export interface Logs {
  /** @param redactor - hides secrets in what does not come through a process, which hides them itself. */
  open(name: LogName, redactor?: Redactor): LogWriter;
}
