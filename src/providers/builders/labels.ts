import { pack } from 'tar-stream';

/**
 * A Dockerfile that puts labels on an image, all by one instruction: an engine makes one of its own of every label it is given with a build,
 * each a container made and removed again (40 ms each, measured).
 *
 * @returns undefined where a label cannot be written as an instruction: one that does not end on its line.
 */
export function labelDockerfile(image: string, labels: Readonly<Record<string, string>>): string | undefined {
  const pairs = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
  if (pairs.length === 0 || pairs.flat().some((text) => /[\r\n\0]/.test(text))) return undefined;
  return `FROM ${image}\nLABEL ${pairs.map(([name, value]) => `${quoted(name)}=${quoted(value)}`).join(' ')}\n`;
}

/** As the engine reads it back: nothing in it is an escape or a variable. */
function quoted(text: string): string {
  return `"${text.replaceAll(/[\\"$]/g, '\\$&')}"`;
}

/** A context that holds only the Dockerfile. */
export function contextOfOne(dockerfile: string): NodeJS.ReadableStream {
  const tar = pack();
  tar.entry({ name: 'Dockerfile' }, dockerfile);
  tar.finalize();
  return tar as unknown as NodeJS.ReadableStream;
}
