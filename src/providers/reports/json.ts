import type { z } from 'zod';
import { type Kept, keptBy } from './kept.ts';
import { type ReportSource, UnreadableReport } from './port.ts';
import { decode } from './text.ts';

/** Deepest nesting; no tool comes near. Judgement, as the other limits are. */
const deepest = 64;
/** Of one picked value. */
const mostNodes = 20_000;
const mostCharacters = 2 ** 20;
const longestKey = 4_096;
const longestNumber = 64;
/** What is longer is cut: a source file in a message is not needed. */
const longestString = 16 * 1024;

/** Says what is done with the values at one path. */
export interface Pick {
  readonly take: (value: unknown, place: string) => void;
  /** What of a value is kept, and counts for its limits. Default: all. */
  readonly kept?: Kept;
}

/**
 * Values at a path are checked, and a value of another form makes the whole report unreadable. Only what the schema names is kept of them: tools write
 * lists beside it that have no end, such as every version that an advisory is about.
 */
export function each<Schema extends z.ZodType>(
  schema: Schema,
  use: (value: z.output<Schema>, place: string) => void,
): Pick {
  return {
    kept: keptBy(schema),
    take(value, place) {
      const parsed = schema.safeParse(value);
      if (!parsed.success) {
        const [issue] = parsed.error.issues;
        const inside = (issue?.path ?? []).map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`));
        throw new UnreadableReport(`has a value of another form: ${issue?.message ?? 'not understood'}`, {
          place: `${place}${inside.join('')}`,
        });
      }
      use(parsed.data, place);
    },
  };
}

export interface JsonForm {
  /**
   * What is read, by path: names divided by `/`, `*` for every element or member. Of two paths that meet the outer one is taken whole.
   * Everything else is passed over without being kept.
   */
  readonly picks: Readonly<Record<string, Pick>>;
  /** What the report must have to be one of this tool, by path without `*`; `` is the document itself. */
  readonly needs: Readonly<Record<string, 'array' | 'object' | 'value'>>;
  /** What every object at a path must have, and what is done at its end. Paths as those of `picks`. */
  readonly parts?: Readonly<Record<string, Part>>;
  /** Documents stand one after the other, each with all of `needs`; called as each begins. Default: there is one. */
  readonly another?: () => void;
  readonly maxBytes: number;
}

/** An object that stands in a report several times. */
export interface Part {
  /** As {@link JsonForm.needs}, from the object on. */
  readonly needs: JsonForm['needs'];
  /** What it means that something of these is missing, or is `null`. Default: it is not a report of this tool. */
  readonly missing?: Readonly<Record<string, { readonly reason: string; readonly remedy: string }>>;
  readonly done?: (place: string) => void;
}

type Container = { readonly array: boolean; key: string; index: number };

/**
 * Reads JSON as a stream; only what was asked for is ever held.
 *
 * @throws {@link UnreadableReport}: no JSON, cut off, nested too deeply, of another tool.
 */
export async function readJson(source: ReportSource, form: JsonForm): Promise<void> {
  const { picks, needs, parts = {}, another, maxBytes } = form;
  const [{ jsonParser }, { getManyValues, isMany, none }] = await Promise.all([
    import('stream-json/core/parser.js'),
    import('stream-chain/defs.js'),
  ]);
  // Its type leaves out that `none` ends the input.
  const parse = jsonParser({ packValues: false, streamValues: true, jsonStreaming: another !== undefined }) as (
    input: unknown,
  ) => ReturnType<ReturnType<typeof jsonParser>>;
  const walker = createWalker(picks, needs, parts, another);
  let characters = 0;
  const feed = (input: string | typeof none): void => {
    let tokens;
    try {
      tokens = parse(input);
    } catch (error) {
      throw new UnreadableReport(
        input === none ? 'ends before its end: it was cut off' : `is not valid JSON: ${reasonOf(error)}`,
        { place: `character ${characters}` },
      );
    }
    if (tokens === none || !isMany(tokens)) return;
    for (const token of getManyValues(tokens)) walker.token(token.name, 'value' in token ? token.value : undefined);
  };
  for await (const piece of decode(source, maxBytes)) {
    feed(piece);
    characters += piece.length;
  }
  feed(none);
  walker.end();
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message.replace(/^Parser (?:cannot parse input: |has )/, '') : String(error);
}

interface Walker {
  token(name: string, value: unknown): void;
  end(): void;
}

function createWalker(
  picks: JsonForm['picks'],
  needs: JsonForm['needs'],
  parts: Readonly<Record<string, Part>>,
  another: JsonForm['another'],
): Walker {
  const patterns = Object.entries(picks).map(([path, pick]) => ({ parts: path === '' ? [] : path.split('/'), pick }));
  let missing = new Map(Object.entries(needs));
  let documents = 0;
  const forms = Object.entries(parts).map(([at, part]) => ({ parts: at.split('/'), part }));
  /** The parts that are being read, the outer ones first. */
  const reading: {
    readonly part: Part;
    readonly depth: number;
    readonly start: string;
    readonly missing: Map<string, string>;
  }[] = [];
  const open: Container[] = [];
  let text: string[] = [];
  let textLength = 0;
  let building: Building | undefined;

  const path = (): string[] => open.map(({ array, key, index }) => (array ? String(index) : key));
  const place = (): string =>
    open.reduce((sum, { array, key, index }) => `${sum}${array ? `[${index}]` : sum === '' ? key : `.${key}`}`, '') ||
    'the document';

  function begins(): void {
    const parent = open.at(-1);
    if (parent?.array === true) parent.index += 1;
    if (parent !== undefined) return;
    if (documents > 0) {
      complete();
      missing = new Map(Object.entries(needs));
    }
    documents += 1;
    another?.();
  }

  function complete(): void {
    const [first] = missing.keys();
    if (first === undefined) return;
    throw new UnreadableReport(
      `is not a report of this tool: it has no ${first === '' ? 'content' : `\`${first.replaceAll('/', '.')}\``}`,
    );
  }

  /** What is asked for here, when nothing around it is. */
  function wanted(): Pick | undefined {
    if (building !== undefined) return undefined;
    return patterns.find(({ parts: at }) => isHere(at))?.pick;
  }

  function isHere(parts: readonly string[]): boolean {
    return (
      parts.length === open.length &&
      parts.every((part, index) => {
        const at = open[index];
        return at !== undefined && (part === '*' || (!at.array && at.key === part));
      })
    );
  }

  function note(form: 'array' | 'object' | 'value', isNull = false): void {
    noteInPart(form, isNull);
    const begun = forms.find(({ parts: at }) => isHere(at));
    if (begun !== undefined && form !== 'object') {
      throw new UnreadableReport(`is not a report of this tool: ${place()} is no object`, { place: place() });
    }
    if (missing.size === 0) return;
    const here = path().join('/');
    const needed = missing.get(here);
    if (needed === undefined) return;
    if (needed !== form) {
      throw new UnreadableReport(`is not a report of this tool: ${place()} is no ${needed}`, { place: place() });
    }
    missing.delete(here);
  }

  function noteInPart(form: 'array' | 'object' | 'value', isNull: boolean): void {
    const inner = reading.at(-1);
    if (inner === undefined || inner.missing.size === 0) return;
    const here = path().slice(inner.depth).join('/');
    const needed = inner.missing.get(here);
    if (needed === undefined) return;
    if (needed !== form) {
      if (isNull) throw lacks(inner.part, here, place());
      throw new UnreadableReport(`is not a report of this tool: ${place()} is no ${needed}`, { place: place() });
    }
    inner.missing.delete(here);
  }

  function scalar(value: unknown): void {
    begins();
    note('value', value === null);
    if (building !== undefined) {
      building.add(open.at(-1)?.key ?? '', value, place);
      return;
    }
    wanted()?.take(value, place());
  }

  function enter(array: boolean): void {
    begins();
    note(array ? 'array' : 'object');
    const pick = wanted();
    if (pick !== undefined) building = createBuilding(pick, place());
    building?.enter(open.at(-1)?.key ?? '', array, place);
    if (open.length >= deepest) {
      throw new UnreadableReport(`is nested more than ${deepest} levels deep`, { place: place() });
    }
    const begun = array ? undefined : forms.find(({ parts: at }) => isHere(at));
    if (begun !== undefined) {
      const { part } = begun;
      reading.push({ part, depth: open.length, start: place(), missing: new Map(Object.entries(part.needs)) });
    }
    open.push({ array, key: '', index: -1 });
  }

  function leave(): void {
    open.pop();
    const inner = reading.at(-1);
    if (inner?.depth === open.length) {
      reading.pop();
      const [first] = inner.missing.keys();
      if (first !== undefined) throw lacks(inner.part, first, inner.start);
      inner.part.done?.(inner.start);
    }
    if (building?.leave() === true) {
      const done = building;
      building = undefined;
      done.pick.take(done.value(), done.start);
    }
  }

  function collect(piece: string, limit: number): void {
    if (textLength < limit) text.push(piece.slice(0, limit - textLength));
    textLength += piece.length;
  }

  function collected(): string {
    const result = text.join('');
    text = [];
    textLength = 0;
    return result;
  }

  return {
    token(name, value) {
      switch (name) {
        case 'startObject':
          enter(false);
          return;
        case 'startArray':
          enter(true);
          return;
        case 'endObject':
        case 'endArray':
          leave();
          return;
        case 'stringChunk':
          collect(String(value), longestString);
          return;
        case 'numberChunk':
          collect(String(value), longestString);
          if (textLength > longestNumber)
            throw new UnreadableReport('has a number of too many digits', { place: place() });
          return;
        case 'endKey': {
          if (textLength > longestKey) throw new UnreadableReport('has a name that is too long', { place: place() });
          const at = open.at(-1);
          if (at !== undefined) at.key = collected();
          return;
        }
        case 'endString':
          scalar(collected());
          return;
        case 'endNumber':
          scalar(Number(collected()));
          return;
        case 'nullValue':
          scalar(null);
          return;
        case 'trueValue':
          scalar(true);
          return;
        case 'falseValue':
          scalar(false);
          return;
        default:
      }
    },
    end: complete,
  };
}

function lacks({ missing = {} }: Part, what: string, place: string): UnreadableReport {
  const { reason, remedy } = missing[what] ?? {};
  return new UnreadableReport(
    reason ?? `is not a report of this tool: ${place} has no \`${what.replaceAll('/', '.')}\``,
    {
      place,
      ...(remedy === undefined ? {} : { remedy }),
    },
  );
}

interface Building {
  readonly pick: Pick;
  /** Where it stands. */
  readonly start: string;
  enter(key: string, array: boolean, place: () => string): void;
  /** @returns whether the whole value is there. */
  leave(): boolean;
  add(key: string, value: unknown, place: () => string): void;
  value(): unknown;
}

/** Puts one picked value together, within its limits. */
function createBuilding(pick: Pick, start: string): Building {
  const stack: { readonly value: unknown[] | Record<string, unknown>; readonly kept: Kept }[] = [];
  /** Levels that are open of something that is not kept. */
  let passed = 0;
  let root: unknown;
  let nodes = 0;
  let characters = 0;

  /** @returns what is kept of it; nothing where it is passed over. */
  function put(key: string, value: unknown, place: () => string): Kept | undefined {
    const around = stack.at(-1);
    const kept = around === undefined ? (pick.kept ?? 'all') : within(around.kept, Array.isArray(around.value), key);
    if (kept === undefined) return undefined;
    nodes += 1;
    characters += key.length + (typeof value === 'string' ? value.length : 0);
    if (nodes > mostNodes || characters > mostCharacters) {
      throw new UnreadableReport('has one entry that is too large', { place: place() });
    }
    const parent = around?.value;
    if (parent === undefined) root = value;
    else if (Array.isArray(parent)) parent.push(value);
    // Not by assignment: a member called `__proto__` is data as any other.
    else Object.defineProperty(parent, key, { value, enumerable: true, configurable: true, writable: true });
    return kept;
  }

  return {
    pick,
    start,
    enter(key, array, place) {
      const value: unknown[] | Record<string, unknown> = array ? [] : {};
      const kept = passed > 0 ? undefined : put(key, value, place);
      if (kept === undefined) passed += 1;
      else stack.push({ value, kept });
    },
    leave() {
      if (passed > 0) passed -= 1;
      else stack.pop();
      return stack.length === 0;
    },
    add(key, value, place) {
      if (passed === 0) put(key, value, place);
    },
    value: () => root,
  };
}

function within(kept: Kept, array: boolean, key: string): Kept | undefined {
  if (kept === 'all') return kept;
  if (array) return kept.elements ?? 'all';
  return kept.members === undefined ? (kept.others ?? 'all') : (kept.members.get(key) ?? kept.others);
}
