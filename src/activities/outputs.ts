import { randomBytes } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { StepSpec } from '../definition/specs/stage.ts';
import { ProviderError } from '../domain/failures.ts';
import { openInside } from '../effects/inside.ts';
import type { Redactor } from '../effects/redact.ts';

/** Of the whole file. Values become the environment of later steps, where much more would not fit. Judgement. */
const mostBytes = 65_536;
const folder = '.slipway';

/** The file that a step writes its outputs to. */
export interface OutputFile {
  /** Absolute; the same inside a container. */
  readonly path: string;
  /**
   * What the step has written, without secrets: nothing of it is to travel.
   *
   * @throws `StepFailed` (not retried): it is too large or malformed, or something that the step was to hand on is missing.
   */
  read(): Promise<Readonly<Record<string, string>>>;
}

/** Makes a place for the outputs of one step, in a folder that it can write to. Its name cannot be guessed by the steps before it. */
export async function openOutputs(home: string, step: StepSpec, redactor: Redactor): Promise<OutputFile> {
  await mkdir(join(home, folder), { recursive: true });
  const name = join(folder, `output-${randomBytes(8).toString('hex')}`);
  return {
    path: join(home, name),
    async read() {
      const handle = await openInside(home, name);
      let text = '';
      if (handle !== undefined) {
        try {
          const { bytesRead, buffer } = await handle.read(Buffer.alloc(mostBytes + 1), 0, mostBytes + 1, 0);
          if (bytesRead > mostBytes)
            throw refused(step, `wrote more than the ${mostBytes} bytes that outputs may have`);
          text = buffer.toString('utf8', 0, bytesRead);
        } finally {
          await handle.close();
          await rm(join(home, name), { force: true });
        }
      }
      const values = parseOutputs(text, step);
      const missing = step.outputs.find((output) => values.get(output) === undefined);
      if (missing !== undefined) throw refused(step, `did not hand on ${missing}`);
      return Object.fromEntries([...values].map(([output, value]) => [output, redactor.text(value)]));
    },
  };
}

/**
 * `NAME=value` a line, or `NAME<<MARK`, the lines of the value, and `MARK`. The last word on a name holds.
 *
 * @throws `StepFailed`: a line is neither, or names what the step does not declare.
 */
export function parseOutputs(text: string, step: Pick<StepSpec, 'name' | 'outputs'>): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  const lines = text.split('\n');
  for (let at = 0; at < lines.length; at += 1) {
    const line = lines[at] ?? '';
    if (line.trim() === '') continue;
    const [, name = '', many, rest = ''] = /^([A-Z_][A-Z0-9_]*)(<<|=)(.*)$/.exec(line) ?? [];
    if (many === undefined) throw refused(step, `wrote an output that is no \`NAME=value\`, in line ${at + 1}`);
    if (!step.outputs.includes(name)) throw refused(step, `wrote ${name}, which is none of its \`outputs\``);
    if (many === '=') {
      values.set(name, rest);
      continue;
    }
    const end = lines.indexOf(rest, at + 1);
    if (rest === '' || end < 0) throw refused(step, `does not end ${name} with a line \`${rest}\``);
    values.set(name, lines.slice(at + 1, end).join('\n'));
    at = end;
  }
  for (const [name, value] of values) {
    if (value.includes('\0')) throw refused(step, `put a zero byte into ${name}`);
  }
  return values;
}

function refused(step: Pick<StepSpec, 'name'>, what: string): ProviderError {
  return new ProviderError('StepFailed', `${step.name} ${what}`);
}
