/** `1 stage`, `2 stages`: a number with the noun it counts, whose plural has an s. */
export function counted(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
