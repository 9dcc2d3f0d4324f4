/**
 * How many bytes at the beginning are whole characters of UTF-8: the last one may have been cut in the middle.
 *
 * @param last - nothing will come behind it, so half a character is all there will be.
 */
export function completeCharacters(bytes: Buffer, last: boolean): number {
  if (last) return bytes.length;
  // A character has at most four bytes, so its first one is among the last four.
  for (let back = 1; back <= Math.min(4, bytes.length); back += 1) {
    const byte = bytes[bytes.length - back] ?? 0;
    if ((byte & 0b1100_0000) === 0b1000_0000) continue;
    const length = byte < 0b1000_0000 ? 1 : byte >= 0b1111_0000 ? 4 : byte >= 0b1110_0000 ? 3 : 2;
    return length > back ? bytes.length - back : bytes.length;
  }
  return bytes.length;
}
