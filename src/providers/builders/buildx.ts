import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { ProviderError } from '../../domain/failures.ts';
import { runProcess } from '../../effects/process.ts';
import { createRedactor } from '../../effects/redact.ts';
import { writeDockerConfig } from '../registries/docker-config.ts';
import { type BuildKitLog, createBuildKitLog } from './buildkit-log.ts';
import { packContext } from './context.ts';
import { readDockerignore } from './dockerignore.ts';
import type { BuildCaches, BuildProgress, BuildRequest } from './port.ts';

/** Lines of a failed build that go into its error. */
const detailLines = 20;
/** The time limit of all images holds besides. */
const callMs = 4 * 3_600_000;
/** What buildx says when the builder, not the build, is at fault. */
const builderGone =
  /error during connect: |cannot connect to the docker daemon|error reading from server|rpc error: code = (?:Unavailable|Canceled)|connection refused|broken pipe|closed network connection|failed to dial gRPC|unexpected EOF|context deadline exceeded/i;
/** A command of the Dockerfile ended so, whatever words stand in it. */
const ownCommand = /did not complete successfully: exit code: \d+/;

/** How buildx is called for one build. */
export interface BuildxCall {
  /** Path of the program. */
  readonly buildx: string;
  /** Scratch: keys, secrets and the password of the registry lie there for the moment of the build. */
  readonly folder: string;
  /** Name of the builder, as its configuration in the folder has it. */
  readonly builder: string;
  /** How it is called in messages, such as `the engine`. */
  readonly calledHere: string;
  /** Besides DOCKER_CONFIG. */
  readonly environment: Readonly<Record<string, string>>;
  /** Where the image goes, and whatever else only this builder is told. */
  readonly options: readonly string[];
}

/**
 * Runs one build by buildx: the context is the tar that the engine's own builder would get, and what the daemon tells is read event by event.
 *
 * @returns what could not be done and is no reason to fail.
 * @throws `BuildFailed`, `DiskFull` (not retried); `BuildInterrupted`, `EngineUnavailable` (retried); the reason of the signal
 */
export async function runBuildx(
  request: BuildRequest,
  progress: BuildProgress,
  call: BuildxCall,
): Promise<readonly string[]> {
  const { credentials } = request;
  const login = credentials === undefined ? undefined : { address: credentials.address, insecure: false, credentials };
  const environment = await writeDockerConfig(call.folder, login ?? { address: '', insecure: false });
  const mounts = await writeMounts(call.folder, request);
  const keys = Object.values(request.ssh ?? {}).flatMap((ssh) => ('key' in ssh ? ssh.key : []));
  const secrets = [...Object.values(request.secrets ?? {}), ...keys, credentials?.password];
  const context = packContext({
    folder: request.folder,
    ignores: readDockerignore(request.ignore),
    always: [request.dockerfile, '.dockerignore', `${request.dockerfile}.dockerignore`],
    modifiedAt: request.modifiedAt,
  });
  const place = request.caches?.export;
  const log = createBuildKitLog(
    (text) => progress.output(text),
    createRedactor(secrets.flatMap((secret) => secret || [])),
    typeof place === 'object' ? place.place : undefined,
  );
  const ending = await runProcess({
    command: [
      ...([call.buildx, 'build', '--builder', call.builder, '--progress', 'rawjson'] as const),
      ...['--file', request.dockerfile, '--provenance=false'],
      ...(request.target === undefined ? [] : ['--target', request.target]),
      ...pairs('--build-arg', request.args),
      ...pairs('--label', request.labels),
      ...(request.platforms.length === 0 ? [] : ['--platform', request.platforms.join(',')]),
      ...(request.network === 'none' ? ['--network', 'none'] : []),
      ...(request.cache === undefined ? [] : ['--cache-from', cacheAt(request.cache, request)]),
      ...(request.caches?.import ?? []).flatMap((from) => ['--cache-from', cacheAt(from, request)]),
      ...exportOptions(request.caches, request),
      ...mounts,
      ...call.options,
      '-',
    ],
    input: Readable.from(context as AsyncIterable<Buffer>),
    env: {
      ...environment,
      ...call.environment,
      BUILDX_CONFIG: join(call.folder, 'buildx'),
      BUILDX_NO_DEFAULT_ATTESTATIONS: '1',
    },
    cwd: call.folder,
    home: call.folder,
    timeoutMs: callMs,
    stallAfterMs: Infinity,
    sink(chunk) {
      progress.moved();
      log.push(chunk);
    },
    signal: progress.signal,
  });
  log.end();
  if (ending.exitCode !== 0) throw buildError(request, call, log);
  return log.warnings;
}

/** The layers of the image itself, or of a place in a registry; one that does not take them costs time, and no build. */
function exportOptions(caches: BuildCaches | undefined, request: BuildRequest): readonly string[] {
  const to = caches?.export;
  // An image that another build may be based on has always told what its layers were made of.
  if (to === undefined || to === 'inline') return ['--cache-to', 'type=inline'];
  return ['--cache-to', `${cacheAt(to.place, request)},mode=${caches?.mode ?? 'min'},ignore-error=true`];
}

function cacheAt(place: string, { registry }: BuildRequest): string {
  const isPlain = registry?.insecure === true && place.startsWith(`${registry.address}/`);
  return `type=registry,ref=${place}${isPlain ? ',registry.insecure=true' : ''}`;
}

/** Files of the declared secrets and keys, for the moment of the build. */
async function writeMounts(folder: string, { secrets = {}, ssh = {} }: BuildRequest): Promise<readonly string[]> {
  const mounts: string[] = [];
  for (const [index, [name, value]] of Object.entries(secrets).entries()) {
    const file = join(folder, `secret-${index}`);
    await writeFile(file, value, { mode: 0o600 });
    mounts.push('--secret', `id=${name},src=${file}`);
  }
  for (const [index, [name, given]] of Object.entries(ssh).entries()) {
    if ('socket' in given) {
      mounts.push('--ssh', `${name}=${given.socket}`);
      continue;
    }
    const file = join(folder, `ssh-key-${index}`);
    // A key without its last line break is refused as malformed.
    await writeFile(file, `${given.key.trimEnd()}\n`, { mode: 0o600 });
    await chmod(file, 0o600);
    mounts.push('--ssh', `${name}=${file}`);
  }
  return mounts;
}

function pairs(option: string, values: Readonly<Record<string, string>>): readonly string[] {
  return Object.entries(values).flatMap(([name, value]) => [option, `${name}=${value}`]);
}

function buildError({ name }: BuildRequest, { calledHere }: BuildxCall, log: BuildKitLog): ProviderError {
  const last = log.lastLines(detailLines);
  const said = log.error() ?? last.at(-1) ?? 'no reason given';
  if (log.unconnected) {
    return new ProviderError('EngineUnavailable', `${calledHere} does not answer, so ${name} cannot be built: ${said}`);
  }
  if (builderGone.test(said) && !ownCommand.test(said)) {
    return new ProviderError(
      'BuildInterrupted',
      `${calledHere} went away in the middle of the build of ${name}: ${said}`,
    );
  }
  if (/no space left on device/i.test(said)) {
    return new ProviderError('DiskFull', `no room is left for the build of ${name} on the disk of ${calledHere}`);
  }
  return new ProviderError('BuildFailed', [`the build of ${name} failed: ${said}`, ...last].join('\n'), {
    details: { image: name, lastLines: last },
  });
}
