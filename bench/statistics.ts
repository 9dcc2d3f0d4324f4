/** The value below which a share of all lies, by the nearest rank. @param share - 0.5 is the median. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))] ?? Number.NaN;
}

export function median(values: readonly number[]): number {
  return percentile(values, 0.5);
}

/** Two digits after the point tell more than the machine's own noise. */
export function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}
