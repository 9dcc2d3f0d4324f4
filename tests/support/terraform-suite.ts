import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ProviderError } from '../../src/domain/failures.ts';
import type { BackendSpec, Infrastructure } from '../../src/providers/infrastructures/port.ts';
import { createTerraform } from '../../src/providers/infrastructures/terraform.ts';
import { applying, infrastructureSuite, requestIn, secretValue } from './infrastructure-suite.ts';
import { type StateServer, startStateServer } from './state-server.ts';
import { type Minio, infrastructureProgram, startMinio } from './minio.ts';
import { until } from './until.ts';

const definition = `
variable "colour" {
  type = string
  validation {
    condition     = var.colour != "refused"
    error_message = "There is no such colour."
  }
}
variable "password" {
  type      = string
  sensitive = true
}
resource "terraform_data" "thing" {
  input = { colour = var.colour, password = var.password }
}
resource "terraform_data" "work" {
  count = var.colour == "work" ? 1 : 0
  provisioner "local-exec" {
    command = "touch $WORK.begun; while [ ! -e $WORK.go ]; do sleep 0.05; done"
  }
}
output "colour" {
  value = var.colour
}
`;

/** What Terraform and OpenTofu promise alike: the suite of every kind, locks, interruptions, and a backend that goes away; each for real. */
export function describeTerraform(kind: 'terraform' | 'opentofu'): void {
  let terraform: string;
  let version: string;
  let minio: Minio;
  let server: StateServer;
  const made: string[] = [];
  beforeAll(async () => {
    terraform = await infrastructureProgram(kind === 'terraform' ? 'terraform' : 'tofu');
    minio = await startMinio(await infrastructureProgram('minio'));
    server = await startStateServer();
    const told = await createTerraform({
      name: kind,
      program: () => Promise.resolve(terraform),
      backend: server.backend('version'),
    }).plan(requestIn(await newFolder(), 'red'));
    version = told.tool;
  }, 900_000);
  afterAll(async () => {
    await minio.stop();
    await server.stop();
    await Promise.all(made.map((folder) => rm(folder, { recursive: true, force: true })));
  });

  async function newFolder(files: Readonly<Record<string, string>> = {}): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), `slipway-${kind}-`));
    made.push(folder);
    await writeFile(join(folder, 'main.tf'), definition);
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
    return folder;
  }

  function open(backend: BackendSpec): Infrastructure {
    return createTerraform({ name: kind, program: () => Promise.resolve(terraform), backend });
  }

  /** A lock file beside the state: from Terraform 1.10, and OpenTofu 1.10, on. */
  function locksInS3(): boolean {
    const [, major = '0', minor = '0'] = /(\d+)\.(\d+)\./.exec(version) ?? [];
    return Number(major) > 1 || Number(minor) >= 10;
  }

  function stateInS3(key: string): BackendSpec {
    return {
      kind: 's3',
      config: {
        ...{ bucket: minio.bucket, key, region: 'eu-central-1' },
        ...{ skip_credentials_validation: true, skip_region_validation: true, skip_metadata_api_check: true },
        ...(locksInS3()
          ? {
              use_lockfile: true,
              use_path_style: true,
              skip_requesting_account_id: true,
              skip_s3_checksum: true,
              endpoints: { s3: minio.address },
            }
          : { force_path_style: true, endpoint: minio.address }),
      },
    };
  }

  let subjects = 0;
  infrastructureSuite(`${kind} with its state behind HTTP`, () => {
    subjects += 1;
    const name = `subject-${subjects}`;
    return Promise.resolve({
      infrastructure: open(server.backend(name)),
      folder: newFolder,
      colour: () => Promise.resolve(colourIn(server.state(name))),
    });
  });

  infrastructureSuite(`${kind} with its state in S3`, () => {
    subjects += 1;
    const key = `subject-${subjects}/terraform.tfstate`;
    const infrastructure = open(stateInS3(key));
    const withKeys = (request: Parameters<Infrastructure['plan']>[0]) => ({
      ...request,
      env: { ...request.env, ...minio.env },
    });
    return Promise.resolve({
      infrastructure: {
        lockHolder: infrastructure.lockHolder,
        plan: (request) => infrastructure.plan(withKeys(request)),
        readState: (request) => infrastructure.readState(withKeys(request)),
        apply: (request) => infrastructure.apply({ ...request, ...withKeys(request) }),
      },
      folder: newFolder,
      colour: async () => colourIn(await minio.read(key)),
    });
  });

  function colourIn(state: string | undefined): string | undefined {
    if (state === undefined || state === '') return undefined;
    const { outputs = {} } = JSON.parse(state) as {
      readonly outputs?: Readonly<Record<string, { readonly value?: string }>>;
    };
    return outputs['colour']?.value;
  }

  describe('a lock', () => {
    test('of somebody else is waited for, then told with its id and how to open it; it is never opened', async () => {
      const infrastructure = open(server.backend('locked'));
      const plan = await infrastructure.plan(requestIn(await newFolder(), 'red'));
      const held = {
        ID: 'a-lock-of-ada',
        Who: 'ada@laptop',
        Operation: 'OperationTypeApply',
        Created: new Date().toISOString(),
      };
      server.hold('locked', held);
      const applying1 = applying(requestIn(await newFolder(), 'red'), plan, {
        left: { who: ['somebody@else'], since: new Date(0) },
      });
      const failure = await infrastructure.apply(applying1).then(
        () => undefined,
        (error: unknown) => error as ProviderError,
      );
      expect(failure).toMatchObject({
        type: 'InfrastructureLocked',
        retryable: false,
        details: { lock: 'a-lock-of-ada' },
      });
      expect(failure?.message).toMatch(
        kind === 'terraform'
          ? /holds the lock a-lock-of-ada, and did not let go within 1 s.*terraform force-unlock a-lock-of-ada/
          : /ada@laptop holds the lock a-lock-of-ada since 20\S+ \(OperationTypeApply\), and did not let go within 1 s.*tofu force-unlock a-lock-of-ada/,
      );
      await expect(infrastructure.plan(requestIn(await newFolder(), 'red'))).rejects.toMatchObject({
        type: 'InfrastructureLocked',
      });
      expect(server.lock('locked')).toMatchObject({ ID: 'a-lock-of-ada' });
      // It lets go while somebody waits for it.
      const waiting = infrastructure.apply(
        applying(requestIn(await newFolder(), 'red', { lockTimeoutMs: 60_000 }), plan),
      );
      await until(() => server.refusals('locked') > 2);
      server.hold('locked', undefined);
      await waiting;
      expect(colourIn(server.state('locked'))).toBe('red');
    });

    test('left by an attempt of its own is opened only where the backend says whose it is', async () => {
      const failure = await diesHolding(server.backend('killed'), {}, () =>
        Promise.resolve(server.lock('killed') !== undefined),
      );
      const left = server.lock('killed');
      if (kind === 'opentofu') {
        // It tells of a lock behind HTTP as of any other.
        expect([failure, left]).toEqual([undefined, undefined]);
        expect(colourIn(server.state('killed'))).toBe('work');
        return;
      }
      expect(left).toMatchObject({ Operation: 'OperationTypeApply' });
      expect(failure).toMatchObject({ type: 'InfrastructureLocked', details: { lock: left?.ID } });
      expect(server.state('killed')).toBeUndefined();
    });

    test('in S3 is a file beside the state, and the one that a killed attempt has left is opened by the next', async () => {
      const key = 'killed/terraform.tfstate';
      const backend = stateInS3(key);
      const isHeld = async (): Promise<boolean> => !locksInS3() || (await minio.read(`${key}.tflock`)) !== undefined;
      expect(await diesHolding(backend, minio.env, isHeld)).toBeUndefined();
      expect(await minio.read(`${key}.tflock`)).toBeUndefined();
      expect(colourIn(await minio.read(key))).toBe('work');
    });

    test('in S3 of another machine is told with its holder, and stays', async () => {
      if (!locksInS3()) return;
      const key = 'ada/terraform.tfstate';
      const infrastructure = open(stateInS3(key));
      const request = async () => requestIn(await newFolder(), 'red', { env: minio.env });
      const plan = await infrastructure.plan(await request());
      const Created = new Date(Date.now() - 60_000).toISOString();
      const held = { ID: 'a-lock-of-ada', Who: 'ada@laptop', Operation: 'OperationTypeApply', Created };
      await minio.write(`${key}.tflock`, JSON.stringify(held));
      const left = { who: [infrastructure.lockHolder() ?? ''], since: new Date(0) };
      await expect(infrastructure.apply(applying(await request(), plan, { left }))).rejects.toMatchObject({
        type: 'InfrastructureLocked',
        message: expect.stringContaining(`ada@laptop holds the lock a-lock-of-ada since ${Created}`) as unknown,
      });
      expect(await minio.read(`${key}.tflock`)).toContain('ada@laptop');
      expect(await minio.read(key)).toBeUndefined();
    });

    /**
     * Applies in a process of its own that is killed in the middle, and again.
     *
     * @returns what the second failed with.
     */
    async function diesHolding(
      backend: BackendSpec,
      env: Readonly<Record<string, string>>,
      isHeld: () => Promise<boolean>,
    ): Promise<unknown> {
      const infrastructure = open(backend);
      const work = join(await newFolder(), 'work');
      const request = async () => requestIn(await newFolder(), 'work', { env: { ...env, WORK: work } });
      const plan = await infrastructure.plan(await request());
      const since = new Date();
      const child = spawn(
        process.execPath,
        [
          '--input-type=module',
          '-e',
          `
        const { createTerraform } = await import(${JSON.stringify(join(import.meta.dirname, '../../src/providers/infrastructures/terraform.ts'))});
        const [terraform, backend, request] = JSON.parse(process.argv[1]);
        const infrastructure = createTerraform({ name: ${JSON.stringify(kind)}, program: async () => terraform, backend });
        await infrastructure.apply({ ...request, plan: { ...request.plan, content: Buffer.from(request.plan.content, 'base64') } });
      `,
          JSON.stringify([
            terraform,
            backend,
            { ...(await request()), plan: { content: plan.content.toString('base64'), state: plan.state } },
          ]),
        ],
        { stdio: ['ignore', 'inherit', 'inherit'] },
      );
      const ended = once(child, 'exit');
      await until(() =>
        readFile(`${work}.begun`).then(
          () => true,
          () => false,
        ),
      );
      expect(await isHeld()).toBe(true);
      child.kill('SIGKILL');
      await ended;
      await writeFile(`${work}.go`, '');
      // Nothing was saved yet, so the same plan is still one of the present state.
      const left = { who: [infrastructure.lockHolder() ?? ''], since };
      return await infrastructure.apply(applying(await request(), plan, { left })).then(
        () => undefined,
        (error: unknown) => error,
      );
    }
  });

  describe('what a repository brings along', () => {
    test('does not lead the state elsewhere: neither its own backend nor a later override', async () => {
      const infrastructure = open(server.backend('kept'));
      const own = await newFolder({
        'backend.tf': 'terraform {\n  backend "local" {\n    path = "/tmp/stolen.tfstate"\n  }\n}\n',
      });
      const plan = await infrastructure.plan(requestIn(own, 'red'));
      await infrastructure.apply(applying(requestIn(await newFolder(), 'red'), plan));
      expect(colourIn(server.state('kept'))).toBe('red');
      const later = await newFolder({
        'zzz_override.tf': 'terraform {\n  backend "local" {\n    path = "/tmp/stolen.tfstate"\n  }\n}\n',
      });
      await expect(infrastructure.plan(requestIn(later, 'red'))).rejects.toMatchObject({
        type: 'InfrastructureFailed',
        message: expect.stringContaining('not where the project says (http)') as unknown,
      });
      const elsewhere = await newFolder({
        'zzz_override.tf': `terraform {\n  backend "http" {\n    address = "${server.backend('stolen').config['address'] as string}"\n  }\n}\n`,
      });
      await expect(infrastructure.plan(requestIn(elsewhere, 'red'))).rejects.toMatchObject({
        type: 'InfrastructureFailed',
      });
      expect(server.state('stolen')).toBeUndefined();
    });

    test('does not go over the variables of the project', async () => {
      const infrastructure = open(server.backend('variables'));
      const folder = await newFolder({
        'terraform.tfvars': 'colour = "black"\n',
        'x.auto.tfvars': 'colour = "black"\n',
      });
      const plan = await infrastructure.plan(requestIn(folder, 'red'));
      await infrastructure.apply(applying(requestIn(await newFolder(), 'red'), plan));
      expect(colourIn(server.state('variables'))).toBe('red');
    });
  });

  describe('a backend', () => {
    test('that is away is told apart from a definition that is wrong', async () => {
      const gone = open({ kind: 'http', config: { address: 'http://127.0.0.1:9/state', retry_max: 0 } });
      await expect(gone.plan(requestIn(await newFolder(), 'red'))).rejects.toMatchObject({
        type: 'InfrastructureUnavailable',
        retryable: true,
      });
      const wrong = await newFolder({ 'more.tf': 'resource "terraform_data" "bad" {\n  nothing = 1\n}\n' });
      await expect(open(server.backend('wrong')).plan(requestIn(wrong, 'red'))).rejects.toMatchObject({
        type: 'InfrastructureFailed',
        message: expect.stringContaining('Unsupported argument') as unknown,
      });
    });

    test('that goes away while a plan is applied does not cost the state: it is brought when the backend is back, or kept', async () => {
      const infrastructure = open(server.backend('lossy'));
      const work = join(await newFolder(), 'work');
      const request = requestIn(await newFolder(), 'work', { env: { WORK: work } });
      const plan = await infrastructure.plan(request);
      const kept: Buffer[] = [];
      const running = infrastructure
        .apply(
          applying(requestIn(await newFolder(), 'work', { env: { WORK: work } }), plan, {
            keepState: (content) => {
              kept.push(content);
              return Promise.resolve('the blob store');
            },
          }),
        )
        .then(
          () => undefined,
          (error: unknown) => error as ProviderError,
        );
      await until(() =>
        readFile(`${work}.begun`).then(
          () => true,
          () => false,
        ),
      );
      server.refuseWrites('lossy', true);
      await writeFile(`${work}.go`, '');
      const failure = await running;
      expect(failure).toMatchObject({
        type: 'InfrastructureInterrupted',
        retryable: false,
        details: { state: 'the blob store' },
      });
      expect(kept.map((content) => colourIn(content.toString()))).toEqual(['work']);
      expect(failure?.message).not.toContain(secretValue);
    }, 180_000);

    test('that is away when applying is aborted does not cost the state either: it is kept at once', async () => {
      const infrastructure = open(server.backend('aborted'));
      const work = join(await newFolder(), 'work');
      const env = { WORK: work };
      const plan = await infrastructure.plan(requestIn(await newFolder(), 'work', { env }));
      const kept: Buffer[] = [];
      const stop = new AbortController();
      const request = requestIn(await newFolder(), 'work', { env, signal: stop.signal });
      const running = infrastructure
        .apply(
          applying(request, plan, {
            keepState: (content) => {
              kept.push(content);
              return Promise.resolve('the blob store');
            },
          }),
        )
        .catch((error: unknown) => error);
      await until(() =>
        readFile(`${work}.begun`).then(
          () => true,
          () => false,
        ),
      );
      server.refuseWrites('aborted', true);
      stop.abort(new Error('no longer wanted'));
      expect(await running).toMatchObject({ type: 'InfrastructureInterrupted', details: { state: 'the blob store' } });
      expect(kept).toHaveLength(1);
      expect(kept[0]?.toString()).toContain('terraform_data');
    }, 180_000);
  });
}
