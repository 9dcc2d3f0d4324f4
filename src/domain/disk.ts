import type { Verdict } from './verdict.ts';

/** One file system that Slipway or an engine of the machine writes to. */
export interface Disk {
  /** What lies on it: `blobs`, `engine unix:///var/run/docker.sock` … */
  readonly holds: readonly string[];
  /** Addresses of the engines that keep their images on it. */
  readonly engines: readonly string[];
  readonly usedBytes: number;
  /** What may still be written, without what the file system keeps for its administrator. */
  readonly availableBytes: number;
}

/** The disks of one machine, as its worker sees them. */
export interface DiskReading {
  readonly disks: readonly Disk[];
  /** What could not be measured, each with the reason. */
  readonly unmeasured: readonly string[];
  readonly limits: DiskLimits;
}

/** Shares of a disk in use, from 0 to 1. */
export interface DiskLimits {
  /** From here on images are removed. */
  readonly high: number;
  /** Down to here. */
  readonly low: number;
}

/** Those of the kubelet (`imageGCHighThresholdPercent`, `imageGCLowThresholdPercent`), which does the same for the same reason. */
export const defaultDiskLimits: DiskLimits = { high: 0.85, low: 0.8 };

/** From here on a build or a database may stop at any moment. The kubelet evicts at 90 and 85 % of its disks; 95 is a judgement. */
export const criticalShare = 0.95;

/** As `df` counts: what is kept for the administrator is neither used nor to be had. 0 for a file system without a size. */
export function usedShare({ usedBytes, availableBytes }: Disk): number {
  const total = usedBytes + availableBytes;
  return total === 0 ? 0 : usedBytes / total;
}

/** Engines on disks that are too full. */
export function enginesToPrune({ disks, limits }: DiskReading): readonly string[] {
  return disks.filter((disk) => usedShare(disk) >= limits.high).flatMap(({ engines }) => engines);
}

/** How the disks of a machine are. What could not be measured is `errored`: it may be full. */
export function judgeDisks(reading: DiskReading): { readonly verdict: Verdict; readonly summary: string } {
  const { disks, unmeasured, limits } = reading;
  const full = disks.filter((disk) => usedShare(disk) >= limits.high);
  if (full.length > 0) return { verdict: 'failed', summary: full.map(describeDisk).join('; ') };
  if (unmeasured.length > 0) return { verdict: 'errored', summary: unmeasured.join('; ') };
  const [fullest] = [...disks].sort((a, b) => usedShare(b) - usedShare(a));
  if (fullest === undefined) return { verdict: 'inconclusive', summary: 'the machine has no disk that Slipway uses' };
  return { verdict: 'passed', summary: `no disk is fuller than ${percent(usedShare(fullest))}` };
}

export function isCritical({ disks }: DiskReading): boolean {
  return disks.some((disk) => usedShare(disk) >= criticalShare);
}

/** `92 % full, 3.1 GB left: blobs, logs`. */
export function describeDisk(disk: Disk): string {
  return `${percent(usedShare(disk))} full, ${gigabytes(disk.availableBytes)} left: ${disk.holds.join(', ')}`;
}

export function gigabytes(bytes: number): string {
  return bytes < 1e8 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}

function percent(share: number): string {
  // Rounded down: 84.9 % is not over a limit of 85.
  return `${Math.floor(share * 100)} %`;
}
