import type Docker from 'dockerode';
import type { SlotStats } from './port.ts';

/** Computes the load of a container from one answer of the engine and the CPU counters of the one before. */
export function toSlotStats(
  present: Docker.ContainerStats,
  before: Docker.CPUStats,
  limits: { readonly cpus: number; readonly memoryBytes: number },
): SlotStats {
  const { cpu_stats: now, memory_stats: memory } = present;
  const used = now.cpu_usage.total_usage - before.cpu_usage.total_usage;
  // Counts all cores together, as `used` does.
  const passed = now.system_cpu_usage - before.system_cpu_usage;
  const cores = now.online_cpus > 0 ? now.online_cpus : 1;
  const cpuLimit = limits.cpus > 0 ? limits.cpus : cores;
  // What the kernel would give back at once is not the release's: `total_inactive_file` with cgroup v1, `inactive_file` with v2.
  const stats = memory.stats as unknown as Readonly<Record<string, number>>;
  const reclaimable = stats['total_inactive_file'] ?? stats['inactive_file'] ?? 0;
  const memoryBytes = Math.max(0, memory.usage - reclaimable);
  const memoryLimit = limits.memoryBytes > 0 ? limits.memoryBytes : memory.limit;
  return {
    at: new Date(present.read).toISOString(),
    cpuRatio: passed > 0 ? ((used / passed) * cores) / cpuLimit : 0,
    memoryRatio: memoryLimit > 0 ? memoryBytes / memoryLimit : 0,
    memoryBytes,
  };
}
