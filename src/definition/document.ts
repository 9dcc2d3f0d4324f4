import { LineCounter, isAlias, isMap, isScalar, isSeq, parseDocument } from 'yaml';
import type { Document, Node } from 'yaml';
import type { Problem } from './problems.ts';

/** Far above any definition that people can read; judgement. */
export const largestDocumentBytes = 256 * 1024;

/** Aliases that a document may use, after expansion: enough to share a block, too few for a bomb. */
const mostAliases = 50;

export type Path = readonly PropertyKey[];

export interface Position {
  readonly line: number;
  readonly column: number;
}

/** A YAML text, read, with the place of everything in it. */
export interface YamlDocument {
  readonly file: string;
  readonly value: unknown;
  /** Of the value at `path`, or of the nearest thing around it that is there. */
  positionOf(path: Path, part?: 'key' | 'value'): Position;
}

/** Reads YAML. Every syntax error is a problem; hostile texts are refused before they cost anything. */
export function readYaml(
  text: string,
  file: string,
): { readonly document: YamlDocument; readonly problems: readonly Problem[] } {
  const lines = new LineCounter();
  const positionAt = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  const refused = (message: string, hint: string): ReturnType<typeof readYaml> => ({
    document: { file, value: undefined, positionOf: () => ({ line: 1, column: 1 }) },
    problems: [{ file, line: 1, column: 1, path: '', message, hint }],
  });

  const tooDeep = (): ReturnType<typeof readYaml> => refused('is nested too deeply', 'Write it with fewer levels.');

  if (Buffer.byteLength(text) > largestDocumentBytes) {
    return refused(
      `is larger than the ${largestDocumentBytes} bytes that a definition may have`,
      'Move generated or repeated content out of it.',
    );
  }
  let document: Document.Parsed;
  try {
    document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  } catch (error) {
    if (isOverflow(error)) return tooDeep();
    throw error;
  }
  if (document.errors.some(({ code }) => code === 'RESOURCE_EXHAUSTION')) return tooDeep();
  const problems = [...document.errors, ...document.warnings].map((error): Problem => ({
    file,
    ...positionAt(error.pos[0]),
    path: '',
    message: `is not valid YAML: ${lowerFirst(error.message)}`,
    hint: yamlHints[error.code] ?? 'Check indentation and quotes near this place.',
  }));
  let value: unknown;
  if (document.errors.length === 0) {
    try {
      value = document.toJS({ maxAliasCount: mostAliases });
    } catch (error) {
      if (isOverflow(error)) return tooDeep();
      if (!(error instanceof ReferenceError)) throw error;
      return refused(
        'uses too many aliases',
        `Write repeated blocks out; at most ${mostAliases} aliases are expanded.`,
      );
    }
  }
  return {
    document: { file, value, positionOf: (path, part = 'value') => positionAt(offsetOf(document, path, part)) },
    problems,
  };
}

/** The parser recurses: nesting without end overflows the stack, which it does not always notice itself. */
function isOverflow(error: unknown): boolean {
  return error instanceof RangeError;
}

const yamlHints: Readonly<Record<string, string>> = {
  DUPLICATE_KEY: 'Remove one of the two; it is not clear which one is meant.',
  TAB_AS_INDENT: 'Indent with spaces.',
  MULTIPLE_DOCS: 'Keep one document in the file: remove the `---` between them.',
  BAD_ALIAS: 'Define the anchor before it is used.',
  MULTILINE_IMPLICIT_KEY: 'Put the text in quotes, or check the indentation above.',
  BLOCK_AS_IMPLICIT_KEY: 'Put the text in quotes if it holds `: `, or check the indentation.',
};

function offsetOf(document: Document.Parsed, path: Path, part: 'key' | 'value'): number {
  let node: Node | null | undefined = document.contents;
  let offset = node?.range?.[0] ?? 0;
  for (const [index, step] of path.entries()) {
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      const pair: { key: unknown; value: unknown } | undefined = node.items.find(
        ({ key }) => nameOf(key) === String(step),
      );
      if (pair === undefined) return offset;
      const key = pair.key as Node;
      node = pair.value as Node | null;
      const valueShown = isScalar(node) && node.value !== null && (part === 'value' || index < path.length - 1);
      // A block is found by its key; only a plain value is pointed at itself.
      offset = (valueShown ? node?.range?.[0] : key.range?.[0]) ?? offset;
    } else if (isSeq(node)) {
      const item: unknown = node.items[Number(step)];
      if (item === undefined) return offset;
      node = item as Node;
      offset = node.range?.[0] ?? offset;
    } else return offset;
  }
  return offset;
}

function nameOf(key: unknown): string | undefined {
  return isScalar(key) ? String(key.value) : undefined;
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
