import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import type Docker from 'dockerode';
import { ensureComposeProgram } from './compose-programs.ts';
import { type LocalContext, createLocalContext } from '../../src/local/context.ts';
import { connectDocker } from '../../src/local/docker.ts';
import { choosePort } from '../../src/local/ports.ts';
import { components, testStateFolder } from './components.ts';
import { debianPostgres } from './compose-supplies.ts';
import { ensureComposeImages, removeComposeImages } from './compose-images.ts';

const run = promisify(execFile);
const root = resolve(import.meta.dirname, '../..');

/** `docker-compose.yml` as a whole, under a name, on ports and with a state folder of its own. */
export interface ComposeInstallation {
  /** SLIPWAY_STATE. */
  readonly stateFolder: string;
  readonly apiUrl: string;
  readonly temporalUi: string;
  /** As it stands before the name of an image. */
  readonly registry: string;
  /** What was written into `.env`, by its name. */
  readonly secrets: Readonly<Record<'store' | 'temporal' | 'installation', string>>;
  /** Images that had to be made in place of public ones. */
  readonly standIns: readonly string[];
  readonly engine: Docker;
  /** Free ports below those that the kernel gives to outgoing connections. */
  port(): Promise<number>;
  /** Writes a file that only its owner reads, below the state folder. @returns its path. */
  secretFile(name: string, value: string): string;
  /** `docker compose …`. @returns what it printed. @throws Error - it ended with another status than 0; with its last lines. */
  compose(...args: readonly string[]): Promise<string>;
  services(): Promise<readonly ComposeService[]>;
  /** Of a service that runs. */
  container(service: string): Promise<Docker.ContainerInspectInfo>;
  /** What services that failed or are not healthy have written last; empty where all is well. */
  logsOfTheBad(): Promise<string>;
  /** Everything of a service that its containers have written. */
  log(service: string): Promise<string>;
  remove(): Promise<void>;
}

/** As `docker compose ps --all` tells it. */
export interface ComposeService {
  readonly name: string;
  readonly state: string;
  /** Empty where the service has no check. */
  readonly health: string;
  readonly exitCode: number;
}

/** The longest command is the first `up`: it builds. */
const composeTimeoutMs = 600_000;

/** @param serverMajor - version of the PostgreSQL that is deployed to; its client comes into the image. */
export async function prepareComposeInstallation(serverMajor: number): Promise<ComposeInstallation> {
  const postgresClients = [...new Set([serverMajor, debianPostgres])];
  const shared = await components('docker');
  const docker = { ...shared.docker, stop: () => Promise.resolve() };
  const context: LocalContext = createLocalContext({
    stateFolder: testStateFolder,
    onProgress: ({ component, message }) => process.stderr.write(`${component}: ${message}\n`),
  });
  const program = await ensureComposeProgram(context, 'docker-compose');
  const engine = connectDocker(docker.address);
  const folder = mkdtempSync(join(tmpdir(), 'slipway-compose-'));
  const stateFolder = join(folder, 'state');
  mkdirSync(join(stateFolder, 'secrets'), { recursive: true });
  // PostgreSQL of the tests runs as a user of its own and does not come here, but containers of steps do.
  chmodSync(folder, 0o755);
  chmodSync(join(stateFolder, 'secrets'), 0o700);
  const project = `slipway-${folder.slice(-6).toLowerCase()}`;
  const image = `slipway:${project}`;
  const taken = new Set<number>();
  const row = 15_000 + (process.pid % 60) * 80;
  const port = async (): Promise<number> => {
    const found = await choosePort({ ...context, preferredPorts: { compose: row } }, 'compose', 'compose', taken);
    taken.add(found);
    return found;
  };
  const word = (): string => randomBytes(32).toString('hex');
  const secrets = { store: word(), temporal: word(), installation: word() };
  const ports = {
    api: await port(),
    temporal: await port(),
    ui: await port(),
    store: await port(),
    registry: await port(),
  };
  const settings = {
    SLIPWAY_STORE_PASSWORD: secrets.store,
    SLIPWAY_TEMPORAL_PASSWORD: secrets.temporal,
    SLIPWAY_INSTALLATION_KEY: secrets.installation,
    SLIPWAY_STATE: stateFolder,
    SLIPWAY_TAG: project,
    // Fewer than by default: where PostgreSQL's own packages cannot be reached there are no more. With the newer one, which must not be taken.
    SLIPWAY_POSTGRES_CLIENTS: postgresClients.join(' '),
    SLIPWAY_ROUTER_CONTAINER: `${project}-router`,
    SLIPWAY_DOCKER_SOCKET: docker.address.replace('unix://', ''),
    SLIPWAY_API_PORT: ports.api,
    SLIPWAY_TEMPORAL_PORT: ports.temporal,
    SLIPWAY_TEMPORAL_UI_PORT: ports.ui,
    SLIPWAY_STORE_PORT: ports.store,
    SLIPWAY_REGISTRY_PORT: ports.registry,
  };
  writeFileSync(
    join(folder, '.env'),
    Object.entries(settings)
      .map(([name, value]) => `${name}=${String(value)}\n`)
      .join(''),
    { mode: 0o600 },
  );

  const compose = async (...args: readonly string[]): Promise<string> => {
    const all = ['--project-name', project, '--env-file', join(folder, '.env'), '--ansi', 'never', ...args];
    try {
      const { stdout } = await run(program, ['--file', join(root, 'docker-compose.yml'), ...all], {
        env: {
          PATH: process.env['PATH'] ?? '',
          HOME: folder,
          DOCKER_HOST: docker.address,
          BUILDKIT_PROGRESS: 'plain',
        },
        timeout: composeTimeoutMs,
        maxBuffer: 64 * 1024 * 1024,
      });
      return stdout;
    } catch (error) {
      const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
      const said = args[0] === 'up' ? await logsOfTheBad() : '';
      throw new Error(`docker compose ${args.join(' ')}: ${(stdout + stderr).slice(-6_000)}${said}`, { cause: error });
    }
  };
  /** What those services wrote that have failed, are not healthy, or were never started. */
  const logsOfTheBad = async (): Promise<string> => {
    const bad = (await services()).filter(
      ({ state, health, exitCode }) => exitCode !== 0 || state === 'restarting' || !['', 'healthy'].includes(health),
    );
    const texts = await Promise.all(
      bad.map(async ({ name, state, health, exitCode }) => {
        const text = await compose('logs', '--no-color', '--no-log-prefix', '--tail', '60', name);
        return `\n--- ${name}: ${state} ${health} ${String(exitCode)}\n${text.slice(-4_000)}`;
      }),
    );
    return texts.join('');
  };
  const services = async (): Promise<ComposeService[]> =>
    (await compose('ps', '--all', '--format', 'json'))
      .split('\n')
      .filter((line) => line.trim() !== '')
      .map((line) => JSON.parse(line) as { Service: string; State: string; Health: string; ExitCode: number })
      .map(({ Service, State, Health, ExitCode }) => ({
        name: Service,
        state: State,
        health: Health,
        exitCode: ExitCode,
      }));

  const installation: Omit<ComposeInstallation, 'standIns'> = {
    stateFolder,
    apiUrl: `http://127.0.0.1:${String(ports.api)}`,
    temporalUi: `http://127.0.0.1:${String(ports.ui)}`,
    registry: `127.0.0.1:${String(ports.registry)}`,
    secrets,
    engine,
    port,
    secretFile(name, value) {
      const file = join(stateFolder, 'secrets', name);
      writeFileSync(file, `${value}\n`, { mode: 0o600 });
      return file;
    },
    compose,
    services,
    logsOfTheBad,
    async container(service) {
      const id = (await compose('ps', '--quiet', service)).trim();
      return await engine.getContainer(id).inspect();
    },
    log: (service) => compose('logs', '--no-color', '--no-log-prefix', service),
    async remove() {
      await compose('down', '--volumes', '--timeout', '10').catch(() => undefined);
      await engine
        .getImage(image)
        .remove({ force: true })
        .catch(() => undefined);
      await removeComposeImages(docker);
      rmSync(folder, { recursive: true, force: true });
    },
  };
  try {
    const standIns = await ensureComposeImages(context, docker, await wantedImages(compose, image), postgresClients);
    return { ...installation, standIns };
  } catch (error) {
    await installation.remove();
    throw error;
  }
}

/** What the file would pull, and what its build begins from. */
async function wantedImages(compose: ComposeInstallation['compose'], own: string): Promise<string[]> {
  const { services } = JSON.parse(await compose('config', '--format', 'json')) as {
    readonly services: Readonly<
      Record<string, { readonly image: string; readonly build?: { readonly args?: Readonly<Record<string, string>> } }>
    >;
  };
  return Object.values(services).flatMap(({ image, build }) => [
    ...(image === own ? [] : [image]),
    ...(build?.args?.['NODE_IMAGE'] === undefined ? [] : [build.args['NODE_IMAGE']]),
  ]);
}
