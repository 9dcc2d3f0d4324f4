import { Buffer } from 'node:buffer';
import { ProviderError } from '../domain/failures.ts';
import { type Redactor, createRedactor } from './redact.ts';

/** Shorter ones stand in any large binary by chance: four given bytes in one of forty of 100 MB. Judgement. */
const shortestInBinaryBytes = 6;

/** What is done about secrets in files that leave the place where steps run. */
export interface FileSecrets {
  /** False when there is nothing to look for, so that callers may go round it. */
  readonly active: boolean;
  /** Whether a path, which people see too, has a secret in it. */
  isInPath(path: string): boolean;
  /**
   * A text without its secrets; a binary as it is.
   *
   * @param told - how many were taken out, once all of it was read.
   * @throws ProviderError `InvalidInput` (not retried) while it is read: a binary with a secret in it, which nobody can take out of it.
   */
  taken(content: AsyncIterable<Buffer>, told: (hidden: number) => void): AsyncGenerator<Buffer>;
  /**
   * Anything as it is: for what has to come back byte by byte.
   *
   * @param name - of the file, for messages.
   * @throws ProviderError `InvalidInput` (not retried) while it is read: it has a secret in it.
   */
  refused(content: AsyncIterable<Buffer>, name: string): AsyncGenerator<Buffer>;
}

/**
 * Looks for secrets in every form that {@link createRedactor} knows, and in no other: what is compressed or encrypted hides them from it. A file
 * is binary as soon as it has a zero byte, which is how Git tells.
 */
export function createFileSecrets(secrets: Iterable<string>): FileSecrets {
  const all = [...secrets];
  const ofText = createRedactor(all);
  const ofBinary = createRedactor(all.filter((secret) => Buffer.byteLength(secret.trim()) >= shortestInBinaryBytes));
  return {
    active: ofText.active,
    isInPath: (path) => ofText.text(path) !== path,
    taken: (content, told) => taken(content, ofText, ofBinary, told),
    refused: (content, name) => refused(content, name, ofBinary),
  };
}

async function* taken(
  content: AsyncIterable<Buffer>,
  ofText: Redactor,
  ofBinary: Redactor,
  told: (hidden: number) => void,
): AsyncGenerator<Buffer> {
  let isBinary: boolean | undefined;
  let stream = ofText.stream();
  let parts: Buffer[] = [];
  // Copied: what is emitted may be a view of a chunk that is used again.
  const collect = (part: Buffer): void => void parts.push(Buffer.from(part));
  const check = (): void => {
    if (isBinary === true && stream.hidden > 0) throw held('only text can be kept without it');
  };
  for await (const chunk of content) {
    const hasZero = isBinary === true || chunk.includes(0);
    if (isBinary === undefined && hasZero) stream = ofBinary.stream();
    isBinary = hasZero;
    stream.push(chunk, collect);
    check();
    yield* parts;
    parts = [];
  }
  stream.end(collect);
  check();
  yield* parts;
  told(stream.hidden);
}

async function* refused(content: AsyncIterable<Buffer>, name: string, redactor: Redactor): AsyncGenerator<Buffer> {
  const stream = redactor.stream();
  const drop = (): void => undefined;
  const check = (): void => {
    if (stream.hidden > 0) throw held('other runs would have it', `${name}: `);
  };
  for await (const chunk of content) {
    stream.push(chunk, drop);
    check();
    yield chunk;
  }
  stream.end(drop);
  check();
}

function held(why: string, where = ''): ProviderError {
  return new ProviderError('InvalidInput', `${where}the value of a secret of the run stands in it, and ${why}`);
}
