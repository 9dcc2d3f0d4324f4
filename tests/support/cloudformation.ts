import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { createLocalContext } from '../../src/local/context.ts';
import { withLock } from '../../src/local/state.ts';
import { testStateFolder } from './components.ts';
import { until } from './until.ts';

const run = promisify(execFile);
/** The official command line, and the server that stands in for AWS. Both as they were used when this was written. */
const packages = { aws: 'awscli==1.46.2', moto: 'moto[cloudformation,server]==5.2.5' } as const;

/** What a request asked for: its parameters, and all of it as it was sent. */
export interface AwsRequest {
  readonly action: string;
  readonly parameters: URLSearchParams;
  readonly sent: string;
}

/**
 * CloudFormation by moto, and what moto lacks before it: executions that fail and are taken back, change sets that could not be made, and the
 * time that everything takes in the cloud. Requests are made by the official command line, so their form is AWS's.
 */
export interface CloudFormation {
  /** Environment of the tool, without its keys. */
  readonly env: Readonly<Record<string, string>>;
  readonly requests: AwsRequest[];
  /** The next change set is `FAILED`, for this reason. */
  failChangeSet(reason: string): void;
  /** The next execution is taken back by CloudFormation: one resource fails, and another is cancelled by that. */
  failExecution(resource: string, reason: string): void;
  /** From now on the stack is as moto has it. */
  recover(): void;
  /** The stack is being changed for so many more looks at it. */
  busy(looks: number): void;
  /** The command line, as anybody would use it. */
  aws(...args: readonly string[]): Promise<string>;
  stop(): Promise<void>;
}

/** From PyPI, once a machine. */
async function installed(name: keyof typeof packages): Promise<string> {
  const { cacheFolder } = createLocalContext({ stateFolder: testStateFolder });
  const place = join(cacheFolder, packages[name].replace(/\[.*\]/, '').replace('==', '-'));
  await withLock(`${place}.lock`, async () => {
    if (existsSync(join(place, 'installed'))) return;
    rmSync(place, { recursive: true, force: true });
    await run('python3', ['-m', 'venv', place]);
    await run(join(place, 'bin/pip'), ['install', '--quiet', packages[name]], { maxBuffer: 16 * 1024 * 1024 });
    writeFileSync(join(place, 'installed.new'), packages[name]);
    renameSync(join(place, 'installed.new'), join(place, 'installed'));
  });
  return join(place, 'bin');
}

export async function startCloudFormation(): Promise<CloudFormation> {
  const [aws, moto] = [await installed('aws'), await installed('moto')];
  const home = await mkdtemp(join(tmpdir(), 'slipway-aws-'));
  const port = await freePort();
  const server = spawn(join(moto, 'moto_server'), ['-H', '127.0.0.1', '-p', String(port)], {
    stdio: 'ignore',
    env: { HOME: home, PATH: '/usr/bin:/bin' },
  });
  const behind = `http://127.0.0.1:${port}`;
  await until(
    async () => {
      if (server.exitCode !== null) throw new Error(`moto ended with ${server.exitCode}`);
      return (await fetch(`${behind}/moto-api/`).catch(() => undefined))?.status === 200;
    },
    { what: 'moto to answer', timeoutMs: 120_000 },
  );

  const requests: AwsRequest[] = [];
  let badChangeSet: string | undefined;
  let badExecution: { readonly resource: string; readonly reason: string } | undefined;
  /** Of the execution that was taken back; newest first. */
  let undone: string | undefined;
  let looks = 0;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = (await buffer(request)).toString();
    const parameters = new URLSearchParams(body);
    const action = parameters.get('Action') ?? '';
    requests.push({ action, parameters, sent: `${JSON.stringify(request.headers)}\n${body}` });
    if (action === 'ExecuteChangeSet' && badExecution !== undefined) {
      undone = eventsOf(badExecution);
      badExecution = undefined;
      response.writeHead(200, { 'content-type': 'text/xml' });
      response.end('<ExecuteChangeSetResponse><ExecuteChangeSetResult/></ExecuteChangeSetResponse>');
      return;
    }
    const { authorization = '' } = request.headers;
    const headers = { 'content-type': 'application/x-www-form-urlencoded', authorization, host: `127.0.0.1:${port}` };
    const answered = await fetch(behind, { method: 'POST', body, headers });
    response.writeHead(answered.status, { 'content-type': 'text/xml' });
    response.end(changed(action, await answered.text()));
  }

  /** What moto says, as AWS would say it now. */
  function changed(action: string, said: string): string {
    if (action === 'DescribeStacks') {
      if (looks > 0) {
        looks -= 1;
        return said.replace(/<StackStatus>\w+</, '<StackStatus>UPDATE_IN_PROGRESS<');
      }
      return undone === undefined ? said : said.replace(/<StackStatus>\w+</, '<StackStatus>UPDATE_ROLLBACK_COMPLETE<');
    }
    if (action === 'DescribeStackEvents' && undone !== undefined) {
      return said.replace('<StackEvents>', `<StackEvents>${undone}`);
    }
    if (action === 'DescribeChangeSet' && badChangeSet !== undefined) {
      const reason = badChangeSet;
      badChangeSet = undefined;
      return said
        .replace(/<Status>\w+</, '<Status>FAILED<')
        .replace(/<ExecutionStatus>\w+</, '<ExecutionStatus>UNAVAILABLE<')
        .replace('</DescribeChangeSetResult>', `<StatusReason>${reason}</StatusReason></DescribeChangeSetResult>`);
    }
    return said;
  }

  const front = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => response.destroy(error as Error));
  });
  await new Promise<void>((resolve) => front.listen(0, '127.0.0.1', resolve));
  const env = {
    PATH: `${aws}:/usr/local/bin:/usr/bin:/bin`,
    AWS_REGION: 'eu-central-1',
    AWS_DEFAULT_REGION: 'eu-central-1',
    AWS_ENDPOINT_URL: `http://127.0.0.1:${(front.address() as AddressInfo).port}`,
    // No look for the rights of a machine in a cloud.
    AWS_EC2_METADATA_DISABLED: 'true',
  };
  return {
    env,
    requests,
    failChangeSet: (reason) => (badChangeSet = reason),
    failExecution: (resource, reason) => (badExecution = { resource, reason }),
    recover: () => (undone = undefined),
    busy: (count) => (looks = count),
    aws: async (...args) => {
      const keys = { AWS_ACCESS_KEY_ID: 'somebody', AWS_SECRET_ACCESS_KEY: 'else' };
      const { stdout } = await run(join(aws, 'aws'), ['cloudformation', ...args], {
        env: { ...env, ...keys, AWS_ENDPOINT_URL: behind, HOME: home },
      });
      return stdout.trim();
    },
    async stop() {
      front.closeAllConnections();
      await new Promise((resolve) => front.close(resolve));
      await ended(server);
      await rm(home, { recursive: true, force: true });
    },
  };
}

/** Newest first, as CloudFormation lists them. */
function eventsOf({ resource, reason }: { readonly resource: string; readonly reason: string }): string {
  const events: readonly (readonly [string, string, string])[] = [
    ['the-stack', 'UPDATE_ROLLBACK_COMPLETE', ''],
    ['Another', 'UPDATE_FAILED', 'Resource update cancelled'],
    [resource, 'UPDATE_FAILED', reason],
    ['the-stack', 'UPDATE_IN_PROGRESS', 'User Initiated'],
  ];
  return events
    .map(
      ([name, status, why], index) =>
        `<member><EventId>undone-${index}</EventId><LogicalResourceId>${name}</LogicalResourceId>` +
        `<ResourceStatus>${status}</ResourceStatus><ResourceStatusReason>${why}</ResourceStatusReason></member>`,
    )
    .join('');
}

async function ended(server: ChildProcess): Promise<void> {
  const exit = new Promise((resolve) => server.once('exit', resolve));
  if (server.exitCode === null && server.kill('SIGKILL')) await exit;
}

async function freePort(): Promise<number> {
  const server = createTcpServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
