import { type ReportSource, UnreadableReport } from './port.ts';
import { decode } from './text.ts';

const deepest = 100;

export type Attributes = Readonly<Record<string, string>>;

/** What is done with the parts of a document; `path` names the elements around, the root first and the one itself last. */
export interface XmlHandler {
  open(path: readonly string[], attributes: Attributes, place: string): void;
  /** In pieces: a long text comes by several calls. */
  text?(path: readonly string[], text: string): void;
  close?(path: readonly string[]): void;
}

/**
 * Reads XML as a stream. Entities of the document's own are never expanded and nothing that it names is fetched: the first use of one ends
 * the reading.
 *
 * @throws {@link UnreadableReport}: not well-formed, cut off, nested too deeply, another root element.
 */
export async function readXml(
  source: ReportSource,
  {
    roots,
    maxBytes,
    handler,
  }: { readonly roots: readonly string[]; readonly maxBytes: number; readonly handler: XmlHandler },
): Promise<void> {
  const { default: sax } = await import('sax');
  const parser = sax.parser(true, { position: true });
  const path: string[] = [];
  let wrong: UnreadableReport | undefined;
  const seen = { root: false };
  const place = (): string => `line ${parser.line + 1}`;
  const stop = (reason: string): void => {
    wrong ??= new UnreadableReport(reason, { place: place() });
  };
  const guarded = (work: () => void): void => {
    if (wrong !== undefined) return;
    try {
      work();
    } catch (error) {
      if (!(error instanceof UnreadableReport)) throw error;
      wrong = error.place === undefined ? new UnreadableReport(error.message, { place: place() }) : error;
    }
  };
  parser.onerror = (error) => {
    const [reason = 'not understood'] = error.message.split('\n');
    stop(
      /entity/i.test(reason)
        ? 'uses an entity of its own, which is never expanded'
        : `is not well-formed XML: ${lowerFirst(reason)}`,
    );
  };
  parser.onprocessinginstruction = ({ name, body }) => {
    const encoding = name === 'xml' ? /encoding\s*=\s*["']([^"']*)["']/i.exec(body)?.[1] : undefined;
    if (encoding !== undefined && !/^(?:utf-?8|us-ascii|ascii)$/i.test(encoding)) {
      stop(`is written in ${encoding}; only UTF-8 is read`);
    }
  };
  parser.onopentag = ({ name, attributes }) => {
    if (path.length === 0 && !roots.includes(name)) {
      stop(`is another document: its root is <${name.slice(0, 40)}>, not <${roots.join('> or <')}>`);
    }
    if (seen.root && path.length === 0) stop('is not well-formed XML: it has a second root');
    seen.root = true;
    path.push(name);
    if (path.length > deepest) stop(`is nested more than ${deepest} levels deep`);
    // Without namespaces the values are texts.
    guarded(() => handler.open(path, attributes as Attributes, place()));
  };
  const text = (piece: string): void => guarded(() => handler.text?.(path, piece));
  parser.ontext = text;
  parser.oncdata = text;
  parser.onclosetag = () => {
    guarded(() => handler.close?.(path));
    path.pop();
  };
  const check = (): void => {
    if (wrong !== undefined) throw wrong;
  };
  for await (const piece of decode(source, maxBytes)) {
    feed(() => parser.write(piece));
    check();
  }
  if (path.length > 0) throw new UnreadableReport('ends before its end: it was cut off', { place: place() });
  feed(() => parser.close());
  check();
  if (!seen.root) throw new UnreadableReport('holds no XML');

  function feed(work: () => void): void {
    try {
      work();
    } catch (error) {
      // The parser throws what it has told `onerror` when it is given more.
      check();
      throw new UnreadableReport(
        `is not well-formed XML: ${error instanceof Error ? (error.message.split('\n')[0] ?? '') : ''}`,
        {
          place: place(),
        },
      );
    }
  }
}

/** A whole number of 0 or more, or a decimal one, as an attribute gives it. */
export function numberOf(attributes: Attributes, name: string, place: string): number | undefined {
  const text = attributes[name]?.trim().replaceAll(',', '');
  if (text === undefined || text === '') return undefined;
  const value = Number(text);
  if (Number.isFinite(value) && value >= 0) return value;
  throw new UnreadableReport(`has \`${name}="${text.slice(0, 40)}"\`, which is no number`, { place });
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
