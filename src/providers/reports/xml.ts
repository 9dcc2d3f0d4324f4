import { type ReportSource, UnreadableReport } from './port.ts';
import { peekStart } from './peek.ts';
import { type Encoding, decode } from './text.ts';

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
    const named = name === 'xml' ? /encoding\s*=\s*["']([^"']*)["']/i.exec(body)?.[1] : undefined;
    if (named !== undefined && encodingOf(named) === undefined) {
      stop(`is written in ${named.slice(0, 40)}; only UTF-8 and Latin-1 are read`);
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
  const { encoding, source: whole } = await peekEncoding(source);
  for await (const piece of decode(whole, maxBytes, encoding)) {
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

/** A whole number of 0 or more, or a decimal one, as an attribute gives it. @param below0 - whether it may be below 0. Default: no. */
export function numberOf(
  attributes: Attributes,
  name: string,
  place: string,
  { below0 = false }: { readonly below0?: boolean } = {},
): number | undefined {
  const text = attributes[name]?.trim().replaceAll(',', '');
  if (text === undefined || text === '') return undefined;
  const value = Number(text);
  if (Number.isFinite(value) && (below0 || value >= 0)) return value;
  throw new UnreadableReport(`has \`${name}="${text.slice(0, 40)}"\`, which is no number`, { place });
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}

/** What is read of the encodings that a document may name; undefined for another. */
function encodingOf(name: string): Encoding | undefined {
  if (/^(?:utf-?8|us-ascii|ascii)$/i.test(name)) return 'utf-8';
  // By the standard of decoders all of these are read as the last of them (encoding.spec.whatwg.org, 4.2).
  if (/^(?:iso-?8859-1|latin-?1|windows-1252|cp1252)$/i.test(name)) return 'windows-1252';
  return undefined;
}

/** The encoding that the first line names; UTF-8 where it names none, or one that is refused when it is read. */
async function peekEncoding(
  given: ReportSource,
): Promise<{ readonly encoding: Encoding; readonly source: ReportSource }> {
  const { start, source } = await peekStart(given, (start) => start.includes('>'));
  const named = /^\s*<\?xml[^>]*?encoding\s*=\s*["']([^"']*)["']/i.exec(start)?.[1];
  return { encoding: encodingOf(named ?? '') ?? 'utf-8', source };
}
