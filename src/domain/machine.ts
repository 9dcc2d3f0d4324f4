import { gigabytes } from './disk.ts';

/** What a worker may use of the machine that it is on. */
export interface Machine {
  /** With the limits of its container. */
  readonly cores: number;
  /** All of it, used or not, with the limits of its container. */
  readonly memoryBytes: number;
  /** Free where its workspaces lie; absent where that could not be read. */
  readonly diskBytes?: number;
}

/** What a pipeline wants of the machine that runs it. */
export type MachineWants = Required<Machine>;

/**
 * What a machine has too little of, a sentence each: what is there, what is wanted, and what to do about it. None where it will do. Never a
 * reason not to run: a small pipeline does well on a small machine, and only its people know that.
 */
export function machineWarnings(wanted: MachineWants, found: Machine): readonly string[] {
  const { cores, memoryBytes, diskBytes } = found;
  const warnings: string[] = [];
  if (cores < wanted.cores) {
    warnings.push(
      `this worker has ${counted(cores)}, wanted ${wanted.cores}: give it more, or set \`machine.cores\` to what the pipeline needs`,
    );
  }
  if (memoryBytes < wanted.memoryBytes) {
    warnings.push(
      `this worker has ${gigabytes(memoryBytes)} of memory, wanted ${gigabytes(wanted.memoryBytes)}: give it more, or set \`machine.memory\` to what the pipeline needs`,
    );
  }
  if (diskBytes === undefined) {
    warnings.push(
      `how much is free on the disk of the workspaces could not be read, wanted ${gigabytes(wanted.diskBytes)}: look whether the worker may read its work folder`,
    );
  } else if (diskBytes < wanted.diskBytes) {
    warnings.push(
      `${gigabytes(diskBytes)} are free on the disk of the workspaces, wanted ${gigabytes(wanted.diskBytes)}: make room, or set \`machine.disk\` to what the pipeline needs`,
    );
  }
  return warnings;
}

function counted(cores: number): string {
  return cores === 1 ? '1 core' : `${cores} cores`;
}
