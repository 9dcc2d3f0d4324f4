/** Type of the stream, three empty bytes, and the length of what follows. */
const headerBytes = 8;

/**
 * The output in a stream of an engine that carries standard output and errors in frames; both are given in the order in which they came. What
 * is given is a view, valid until the next one.
 *
 * @throws Error - the stream ended in the middle of a frame.
 */
export async function* readFrames(stream: AsyncIterable<unknown>): AsyncGenerator<Buffer> {
  let header = Buffer.alloc(0);
  let left = 0;
  for await (const read of stream) {
    let chunk = read as Buffer;
    while (chunk.length > 0) {
      if (left === 0) {
        const missing = headerBytes - header.length;
        header = Buffer.concat([header, chunk.subarray(0, missing)]);
        chunk = chunk.subarray(missing);
        if (header.length < headerBytes) break;
        left = header.readUInt32BE(4);
        header = Buffer.alloc(0);
        continue;
      }
      const part = chunk.subarray(0, left);
      left -= part.length;
      chunk = chunk.subarray(part.length);
      yield part;
    }
  }
  if (left > 0 || header.length > 0)
    throw new Error('the stream of the engine was cut in the middle of a frame (ECONNRESET)');
}
