/** What BuildKit tells of a build (`--progress=rawjson`, the `SolveStatus` of its client), as lines for people. */
import type { Redactor } from '../../effects/redact.ts';

interface Vertex {
  readonly digest: string;
  readonly name: string;
  readonly started?: string;
  readonly completed?: string;
  readonly cached?: boolean;
  readonly error?: string;
}

interface SolveStatus {
  readonly vertexes?: readonly Vertex[];
  readonly logs?: readonly { readonly vertex: string; readonly data: string }[];
  readonly warnings?: readonly { readonly short?: string }[];
}

interface Step {
  readonly number: number;
  readonly name: string;
  startedAt: string | undefined;
  isDone: boolean;
  /** A line of its output that has no end yet. */
  open: string;
  /** The last lines of its output. */
  lines: string[];
}

/** What buildx says of an engine that is away; of a daemon that is, it tells by a step of its own. */
const notAnswered = /^ERROR: (?:error during connect: |Cannot connect to the Docker daemon)/;

/** Reads the events of one build as they come. */
export interface BuildKitLog {
  push(chunk: Buffer): void;
  /** The end of the stream. */
  end(): void;
  /** What could not be done and is no reason to fail: caches that cannot be read or written. */
  readonly warnings: readonly string[];
  /** What buildx itself said at the end, after `ERROR: `; undefined where nothing failed. */
  error(): string | undefined;
  /** The last output of the step that failed, then the place in the Dockerfile. */
  lastLines(count: number): readonly string[];
  /** Whether a connection to the daemon was never there. */
  readonly unconnected: boolean;
}

/** More than any event; a longer line is passed over. */
const maxLineBytes = 8 * 1024 * 1024;
/** A line of output without an end is told in pieces of this size. */
const maxOpenChars = 65_536;
/** Kept of each step, for the one that fails. */
const keptLines = 40;
/** What moves layers between builds; a failure of it costs time and nothing else. */
const cacheStep =
  /^(?:importing cache manifest from (\S+)|exporting cache to (?:registry|client directory)|exporting cache)/;

/**
 * @param output - gets whole lines. Output of steps comes in base64, so secrets are taken out here, where it is text again.
 * @param exportsTo - how a cache that is written is called in warnings.
 */
export function createBuildKitLog(
  output: (text: string) => void,
  redactor: Redactor,
  exportsTo: string | undefined,
): BuildKitLog {
  const steps = new Map<string, Step>();
  const warnings: string[] = [];
  /** Lines of buildx itself: the place in the Dockerfile, and the error. */
  const own: string[] = [];
  const decoder = new TextDecoder();
  let rest = '';
  let isSkipping = false;
  let failed: Step | undefined;
  let isUnconnected = false;

  function say(line: string): string {
    const told = redactor.text(line);
    output(`${told}\n`);
    return told;
  }

  function stepOf({ digest, name }: Vertex): Step {
    const known = steps.get(digest);
    if (known !== undefined) return known;
    const step: Step = { number: steps.size + 1, name, startedAt: undefined, isDone: false, open: '', lines: [] };
    steps.set(digest, step);
    return step;
  }

  function tell(step: Step, line: string): void {
    step.lines.push(say(`#${step.number} ${line}`).replace(/^#\d+ /, ''));
    if (step.lines.length > keptLines) step.lines.shift();
  }

  function takeVertex(vertex: Vertex): void {
    const step = stepOf(vertex);
    if (vertex.started !== undefined && step.startedAt === undefined) {
      step.startedAt = vertex.started;
      say(`#${step.number} ${step.name}`);
    }
    if (vertex.completed === undefined || step.isDone) return;
    // A step may begin again: reading a context is told of twice.
    step.isDone = vertex.error !== undefined || vertex.cached === true;
    flush(step);
    if (vertex.error !== undefined) {
      if (vertex.name === '[internal] waiting for connection') isUnconnected = true;
      takeError(step, vertex.error);
    } else if (vertex.cached === true) say(`#${step.number} CACHED`);
  }

  function takeError(step: Step, reason: string): void {
    const cache = cacheStep.exec(step.name);
    if (cache === null) {
      say(`#${step.number} ERROR: ${reason}`);
      // What is called off because another failed has nothing to say.
      if (!/context canceled/.test(reason)) failed ??= step;
      return;
    }
    const what =
      cache[1] === undefined
        ? `the cache ${exportsTo ?? ''} could not be written`
        : `the cache ${cache[1]} could not be read`;
    const warning = redactor.text(`${what.replace('  ', ' ')}: ${reason}`);
    warnings.push(warning);
    say(`#${step.number} warning: ${warning}`);
  }

  function flush(step: Step): void {
    if (step.open !== '') tell(step, step.open);
    step.open = '';
  }

  function takeLog(step: Step, data: string): void {
    const lines = (step.open + data).split(/\r?\n/);
    step.open = lines.pop() ?? '';
    for (const line of lines) tell(step, line);
    if (step.open.length > maxOpenChars) flush(step);
  }

  function takeLine(line: string): void {
    if (line.trim() === '') return;
    let event: SolveStatus | undefined;
    try {
      event = line.startsWith('{') ? (JSON.parse(line) as SolveStatus) : undefined;
    } catch {
      // Whatever it is, it is for people.
    }
    if (event === undefined) {
      own.push(say(line));
      if (own.length > keptLines) own.shift();
      return;
    }
    for (const vertex of event.vertexes ?? []) takeVertex(vertex);
    for (const { vertex, data } of event.logs ?? []) {
      const step = steps.get(vertex) ?? stepOf({ digest: vertex, name: '' });
      takeLog(step, Buffer.from(data, 'base64').toString());
    }
    for (const { short } of event.warnings ?? []) {
      if (short !== undefined) say(`warning: ${Buffer.from(short, 'base64').toString()}`);
    }
  }

  return {
    warnings,
    push(chunk) {
      rest += decoder.decode(chunk, { stream: true });
      let from = 0;
      for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n', from)) {
        if (!isSkipping) takeLine(rest.slice(from, end));
        isSkipping = false;
        from = end + 1;
      }
      rest = rest.slice(from);
      if (rest.length <= maxLineBytes) return;
      rest = '';
      isSkipping = true;
    },
    end() {
      if (!isSkipping) takeLine(rest + decoder.decode());
      rest = '';
      for (const step of steps.values()) flush(step);
    },
    error: () => own.findLast((line) => /^ERROR: /.test(line))?.replace(/^ERROR: /, ''),
    lastLines: (count) => [...(failed?.lines ?? []), ...own].slice(-count),
    get unconnected() {
      // Where the engine does not even answer, it never comes to a step.
      return isUnconnected || (steps.size === 0 && own.some((line) => notAnswered.test(line)));
    },
  };
}
