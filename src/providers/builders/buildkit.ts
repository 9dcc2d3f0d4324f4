import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { ProviderError } from '../../domain/failures.ts';
import { runProcess } from '../../effects/process.ts';
import { createRedactor } from '../../effects/redact.ts';
import { withScratch } from '../../effects/scratch-folder.ts';
import { writeDockerConfig } from '../registries/docker-config.ts';
import { packContext } from './context.ts';
import { readDockerignore } from './dockerignore.ts';
import type { BuildProgress, BuildRequest, ImageBuilder, LocalImage } from './port.ts';

/** Lines of a failed build that go into its error. */
const detailLines = 20;
/** The time limit of all images holds besides. */
const callMs = 4 * 3_600_000;
/** What buildx says when the engine, not the build, is at fault. */
const engineGone =
  /cannot connect to the docker daemon|error reading from server|rpc error: code = (?:Unavailable|Canceled)|connection refused|broken pipe|closed network connection|failed to dial gRPC|unexpected EOF/i;

/**
 * Builds by the BuildKit of the same engine, through buildx: secrets and keys are mounted into single RUN instructions and are in no layer, and the
 * layers of the image before are taken from the registry. The context is the same tar that the engine's own builder would get.
 *
 * @param address - of the engine, as in DOCKER_HOST.
 * @param engine - looks after images on the same engine.
 * @param program - path of buildx; asked at each use, and may take long the first time.
 */
export function createBuildKitBuilder(
  address: string,
  engine: ImageBuilder,
  program: (signal?: AbortSignal) => Promise<string>,
): ImageBuilder {
  async function build(request: BuildRequest, progress: BuildProgress): Promise<LocalImage> {
    if (request.platforms.length > 1) {
      throw new ProviderError(
        'EngineRefused',
        `${request.name} asks for several platforms (${request.platforms.join(', ')}), which this engine cannot keep as one image`,
      );
    }
    const buildx = await program(progress.signal);
    return await withScratch('buildkit', async (folder) => {
      const idFile = join(folder, 'image-id');
      const { credentials } = request;
      const login =
        credentials === undefined ? undefined : { address: credentials.address, insecure: false, credentials };
      const environment = await writeDockerConfig(folder, login ?? { address: '', insecure: false });
      const mounts = await writeMounts(folder, request);
      const secrets = [...Object.values(request.secrets ?? {}), request.sshKey, credentials?.password];
      const context = packContext({
        folder: request.folder,
        ignores: readDockerignore(request.ignore),
        always: [request.dockerfile, '.dockerignore', `${request.dockerfile}.dockerignore`],
        modifiedAt: request.modifiedAt,
      });
      const ending = await runProcess({
        command: [
          ...([buildx, 'build', '--builder', 'default', '--progress', 'plain'] as const),
          ...['--file', request.dockerfile, '--iidfile', idFile, '--provenance=false'],
          ...(request.target === undefined ? [] : ['--target', request.target]),
          ...pairs('--build-arg', { ...request.args, BUILDKIT_INLINE_CACHE: '1' }),
          ...pairs('--label', request.labels),
          ...(request.platforms[0] === undefined ? [] : ['--platform', request.platforms[0]]),
          ...(request.network === 'none' ? ['--network', 'none'] : []),
          ...(request.cache === undefined ? [] : ['--cache-from', `type=registry,ref=${request.cache}`]),
          ...mounts,
          '-',
        ],
        input: Readable.from(context as AsyncIterable<Buffer>),
        env: {
          ...environment,
          DOCKER_HOST: address,
          BUILDX_CONFIG: join(folder, 'buildx'),
          BUILDX_NO_DEFAULT_ATTESTATIONS: '1',
        },
        cwd: folder,
        home: folder,
        timeoutMs: callMs,
        stallAfterMs: Infinity,
        redactor: createRedactor(secrets.flatMap((secret) => secret || [])),
        sink(chunk) {
          progress.moved();
          progress.output(chunk.toString());
        },
        signal: progress.signal,
      });
      if (ending.exitCode !== 0) throw buildError(request, ending.tail);
      const built = await engine.inspect((await readFile(idFile, 'utf8')).trim());
      if (built !== undefined) return built;
      throw new ProviderError('BuildInterrupted', `${request.name} was built and is gone`);
    });
  }

  return { ...engine, build };
}

/** Files of the declared secrets, for the moment of the build. */
async function writeMounts(folder: string, { secrets = {}, sshKey }: BuildRequest): Promise<readonly string[]> {
  const mounts: string[] = [];
  for (const [index, [name, value]] of Object.entries(secrets).entries()) {
    const file = join(folder, `secret-${index}`);
    await writeFile(file, value, { mode: 0o600 });
    mounts.push('--secret', `id=${name},src=${file}`);
  }
  if (sshKey !== undefined) {
    const file = join(folder, 'ssh-key');
    // A key without its last line break is refused as malformed.
    await writeFile(file, `${sshKey.trimEnd()}\n`, { mode: 0o600 });
    await chmod(file, 0o600);
    mounts.push('--ssh', `default=${file}`);
  }
  return mounts;
}

function pairs(option: string, values: Readonly<Record<string, string>>): readonly string[] {
  return Object.entries(values).flatMap(([name, value]) => [option, `${name}=${value}`]);
}

function buildError({ name }: BuildRequest, tail: string): ProviderError {
  const lines = tail
    .replaceAll(/\u001b\[[\d;]*m/g, '')
    .split(/\r?\n/)
    .filter((line) => line.trim() !== '');
  const said =
    lines.findLast((line) => /^ERROR: /.test(line))?.replace(/^ERROR: /, '') ?? lines.at(-1) ?? 'no reason given';
  if (engineGone.test(said)) {
    return new ProviderError('BuildInterrupted', `the engine went away in the middle of the build of ${name}: ${said}`);
  }
  if (/no space left on device/i.test(said)) {
    return new ProviderError('DiskFull', `no room is left for the build of ${name} on the engine's disk`);
  }
  const last = lines.slice(-detailLines);
  return new ProviderError('BuildFailed', [`the build of ${name} failed: ${said}`, ...last].join('\n'), {
    details: { image: name, lastLines: last },
  });
}

/** What only BuildKit can do; the engine's own builder refuses it or, worse, passes it over. */
export function needsBuildKit(dockerfile: string): boolean {
  return /^\s*RUN\s[^\n]*--mount=|^\s*#\s*syntax\s*=|^\s*(?:RUN|COPY|ADD)\s[^\n]*<<-?["']?\w+/im.test(dockerfile);
}
