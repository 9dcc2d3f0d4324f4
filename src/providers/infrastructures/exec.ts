import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { infrastructureActions, summarise } from '../../domain/infrastructure.ts';
import { ProviderError } from '../../domain/failures.ts';
import { runProcess } from '../../effects/process.ts';
import { createRedactor } from '../../effects/redact.ts';
import { withScratch } from '../../effects/scratch-folder.ts';
import type { Infrastructure, InfrastructureRequest } from './port.ts';
import { staleError } from './terraform.ts';

/** Commands of the project, for tools that are no Terraform: CloudFormation by its change sets, Pulumi, a script. */
export interface ExecCommands {
  /** Writes what `apply` needs to the file `$SLIPWAY_PLAN`, and what it would change to `$SLIPWAY_CHANGES`. */
  readonly plan: readonly string[];
  /** Applies what `$SLIPWAY_PLAN` holds and nothing else; exit code 3 says that it is stale and nothing was changed. */
  readonly apply: readonly string[];
  /** Prints what tells two states apart, such as the id of the last change; never a secret. */
  readonly state: readonly string[];
  /** Removes what `plan` has left outside of its file for `$SLIPWAY_DEPLOYMENT`, if there is any. Absent: it leaves nothing. */
  readonly discard?: readonly string[] | undefined;
}

/** Of what a command prints or writes beside its plan. Judgement. */
const maxAnswerBytes = 4 * 1024 * 1024;
const maxPlanBytes = 64 * 1024 * 1024;
/** What `apply` says when the plan is no longer one of the present state. */
const staleCode = 3;
const stopGraceMs = 60_000;

const Changes = z.array(z.object({ address: z.string().min(1), action: z.enum(infrastructureActions) })).max(100_000);

export function createExecInfrastructure(commands: ExecCommands): Infrastructure {
  interface Call {
    readonly what: string;
    readonly command: readonly string[];
    readonly files?: Readonly<Record<string, string>>;
  }

  async function run(
    request: InfrastructureRequest,
    folder: string,
    call: Call,
  ): Promise<{ exitCode: number; stdout: Buffer; tail: string }> {
    const secrets = [...Object.values(request.secrets), ...Object.values(request.secretVariables)];
    const variables = join(folder, 'variables.json');
    await writeFile(variables, JSON.stringify({ ...request.variables, ...request.secretVariables }), { mode: 0o600 });
    const stdout: Buffer[] = [];
    let bytes = 0;
    const { exitCode, tail, timedOut } = await runProcess({
      command: [call.command[0] ?? '', ...call.command.slice(1)],
      cwd: request.folder,
      env: {
        ...request.env,
        ...request.secrets,
        SLIPWAY_VARIABLES: variables,
        SLIPWAY_DEPLOYMENT: request.name,
        ...call.files,
      },
      output: 'data',
      sink: (chunk) => {
        bytes += chunk.length;
        if (bytes <= maxAnswerBytes) stdout.push(Buffer.from(chunk));
      },
      redactor: createRedactor(secrets),
      timeoutMs: request.timeoutMs,
      stallAfterMs: Infinity,
      graceMs: stopGraceMs,
      abortGraceMs: stopGraceMs,
      ...(request.signal === undefined ? {} : { signal: request.signal }),
      ...(request.onLine === undefined ? {} : { onLine: request.onLine }),
    });
    if (timedOut) {
      throw new ProviderError(
        'TimedOut',
        `The command could not ${call.what} within ${Math.round(request.timeoutMs / 1_000)} s`,
      );
    }
    if (bytes > maxAnswerBytes) throw failed(call.what, 'it printed more than can be read');
    return { exitCode, stdout: Buffer.concat(stdout), tail };
  }

  async function must(request: InfrastructureRequest, folder: string, call: Call): Promise<Buffer> {
    const { exitCode, stdout, tail } = await run(request, folder, call);
    if (exitCode !== 0) throw failed(call.what, lastLine(tail, exitCode));
    return stdout;
  }

  async function stateOf(request: InfrastructureRequest, folder: string): Promise<string> {
    const said = await must(request, folder, { what: 'tell its state', command: commands.state });
    return createHash('sha256').update(said.toString().trim()).digest('hex');
  }

  const { discard } = commands;
  return {
    lockHolder: () => undefined,

    discard:
      discard &&
      ((request) =>
        withScratch('infrastructure', async (folder) => {
          await must(request, folder, { what: 'remove what its plans have left', command: discard });
        })),

    plan: (request) =>
      withScratch('infrastructure', async (folder) => {
        const state = await stateOf(request, folder);
        const files = { SLIPWAY_PLAN: join(folder, 'saved-plan'), SLIPWAY_CHANGES: join(folder, 'changes.json') };
        await must(request, folder, { what: 'plan', command: commands.plan, files });
        const content = await readFile(files.SLIPWAY_PLAN).catch(() => undefined);
        if (content === undefined) throw failed('plan', 'it wrote no $SLIPWAY_PLAN');
        if (content.length > maxPlanBytes) {
          throw new ProviderError(
            'TooLarge',
            `The saved plan has ${content.length} bytes; the limit is ${maxPlanBytes}.`,
          );
        }
        return {
          content,
          summary: summarise(await readChanges(files.SLIPWAY_CHANGES)),
          state,
          tool: nameOf(commands.plan),
        };
      }),

    readState: (request) => withScratch('infrastructure', (folder) => stateOf(request, folder)),

    apply: (request) =>
      withScratch('infrastructure', async (folder) => {
        if ((await stateOf(request, folder)) !== request.plan.state) throw staleError(nameOf(commands.apply));
        const file = join(folder, 'saved-plan');
        await writeFile(file, request.plan.content, { mode: 0o600 });
        const call = { what: 'apply the saved plan', command: commands.apply, files: { SLIPWAY_PLAN: file } };
        const { exitCode, tail } = await run(request, folder, call);
        if (exitCode === staleCode) throw staleError(nameOf(commands.apply));
        if (exitCode !== 0) throw failed(call.what, lastLine(tail, exitCode));
        return { state: await stateOf(request, folder) };
      }),
  };
}

/** What a plan that says nothing changes is not known, and nobody could approve it. */
async function readChanges(file: string): Promise<z.output<typeof Changes>> {
  const text = await readFile(file, 'utf8').catch(() => undefined);
  if (text === undefined) throw failed('plan', 'it wrote no $SLIPWAY_CHANGES; `[]` says that nothing changes');
  let written: unknown;
  try {
    written = JSON.parse(text);
  } catch {
    throw failed('plan', '$SLIPWAY_CHANGES is no JSON');
  }
  const read = Changes.safeParse(written);
  if (read.success) return read.data;
  const [issue] = read.error.issues;
  throw failed('plan', `$SLIPWAY_CHANGES is not as it must be: ${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}`);
}

function nameOf(command: readonly string[]): string {
  return command[0] ?? 'the command';
}

function failed(what: string, why: string): ProviderError {
  return new ProviderError('InfrastructureFailed', `The command could not ${what}: ${why}.`);
}

function lastLine(tail: string, exitCode: number): string {
  const line = tail.trimEnd().split('\n').at(-1)?.trim() ?? '';
  return `${line === '' ? 'it said nothing' : line.slice(0, 1_000)} (exit code ${exitCode})`;
}
