/**
 * What the environment of the API and of a worker may say. Each setting has its words with it: `docs/reference/settings.md` is made of them
 * (`settings-reference.ts`), and a test compares.
 */
import { z } from 'zod';
import { defaultDiskLimits } from './domain/disk.ts';

/** What a worker does; on one machine all of it. */
export const capabilities = ['orchestration', 'build', 'deploy', 'notify'] as const;
export type Capability = (typeof capabilities)[number];

/** The words of a setting, as zod's registry of metadata keeps them. */
export interface SettingWords {
  /** What may stand in it. */
  readonly form: string;
  /** What holds where it is not set, where that is no fixed value of the schema. */
  readonly usual?: string;
  readonly readBy: 'API and worker' | 'API' | 'worker';
  readonly description: string;
}

const path = 'path';
const address = 'address';

const optionalText = z
  .string()
  .optional()
  .transform((text) => (text === undefined || text.trim() === '' ? undefined : text.trim()));
const optionalUrl = optionalText
  .refine((text) => text === undefined || URL.canParse(text), 'must be an address such as https://slipway.example.com')
  .transform((text) => text?.replace(/\/+$/, ''));
const port = z.coerce.number('must be a port').int().min(0).max(65_535);
const percent = z.coerce.number('must be a number of percent').min(1).max(99);

/** Puts words to a setting. */
function said<Schema extends z.ZodType>(schema: Schema, says: SettingWords): Schema {
  return schema.meta({ ...says });
}

/** The settings of `api` and `worker`, but for those of Temporal, which are Temporal's own. */
export const Settings = z.object({
  SLIPWAY_STATE: said(optionalText, {
    ...{ form: path, usual: '`.slipway` in the current folder', readBy: 'API and worker' },
    description: 'Folder of everything that is kept on this machine. Paths within it are made absolute.',
  }),
  SLIPWAY_BLOBS: said(optionalText, {
    ...{ form: path, usual: '`blobs` in the state folder', readBy: 'API and worker' },
    description: 'Backups, reports and artifacts; shared by all workers and the API.',
  }),
  SLIPWAY_LOGS: said(optionalText, {
    ...{ form: path, usual: '`logs` in the state folder', readBy: 'API and worker' },
    description: 'Output of steps and of the stages of deployments; shared by all workers and the API.',
  }),
  SLIPWAY_SPOOL: said(optionalText, {
    ...{ form: path, usual: '`spool` in the state folder', readBy: 'worker' },
    description: 'Facts on their way to the store; of this machine alone.',
  }),
  SLIPWAY_WORK: said(optionalText, {
    ...{ form: path, usual: '`work` in the state folder', readBy: 'API and worker' },
    description: 'Mirrors of repositories, checkouts and caches; of this machine alone.',
  }),
  DATABASE_URL: said(
    optionalText.refine(
      (text) => text === undefined || /^postgres(ql)?:\/\//.test(text),
      'must be an address such as postgres://user:password@host:5432/slipway',
    ),
    {
      ...{ form: '`postgres://user:password@host:5432/slipway`', readBy: 'API and worker' },
      usual: 'none: it must be set; `slipway up` sets that of the store which it starts',
      description: 'The store.',
    },
  ),
  SLIPWAY_STORE_POOL: said(z.coerce.number('must be a number').int().min(2).max(200).default(10), {
    ...{ form: 'whole number from 2 to 200', readBy: 'API and worker' },
    description: 'Most connections of this process to the store, beside those that hold a target or listen.',
  }),
  SLIPWAY_INSTALLATION_KEY: said(optionalText, {
    ...{ form: 'text', readBy: 'API and worker' },
    usual: '`secrets/installation-key` in the state folder, made where it is missing',
    description:
      'What versions of secrets, proofs of decisions, signed links and the cookies of pages are made with; the same for all processes of an installation. Another one makes open ones void.',
  }),
  DOCKER_HOST: said(optionalText, {
    ...{ form: address, usual: '`unix:///var/run/docker.sock`', readBy: 'worker' },
    description: 'The engine in which images are built and, unless a target says otherwise, releases run.',
  }),
  SLIPWAY_ROUTER_FOLDER: said(optionalText, {
    ...{ form: path, usual: '`router` in the state folder', readBy: 'worker' },
    description: "The router's rendered files, the truth about traffic; the router reads the same folder.",
  }),
  SLIPWAY_ROUTER_MASTER: said(optionalText, {
    ...{ form: path, usual: '`router/master.sock` in the state folder', readBy: 'worker' },
    description: "Unix socket of the router's master process (`haproxy -S`).",
  }),
  SLIPWAY_ROUTER_STATS: said(optionalText, {
    ...{ form: path, usual: '`router/stats.sock` in the state folder', readBy: 'worker' },
    description: "Unix socket of the router's runtime API (`stats socket`).",
  }),
  SLIPWAY_ROUTER_CONTAINER: said(optionalText, {
    ...{ form: 'name', usual: '`slipway-router`', readBy: 'worker' },
    description: 'Container of the router, whose log tells the requests; another one for a second installation.',
  }),
  SLIPWAY_ROUTER_BINARY: said(optionalText, {
    ...{ form: path, usual: 'checked in the container', readBy: 'worker' },
    description: 'The `haproxy` that checks files before they are put in place.',
  }),
  SLIPWAY_API_HOST: said(optionalText, {
    ...{ form: address, usual: '`127.0.0.1`', readBy: 'API' },
    description: 'Where the API listens; anything else but loopback needs TLS.',
  }),
  SLIPWAY_API_PORT: said(port.default(8420), {
    ...{ form: 'port; 0: any that is free', readBy: 'API' },
    description: 'Port of the API.',
  }),
  SLIPWAY_TLS_CERT: said(optionalText, {
    ...{ form: path, usual: 'no TLS', readBy: 'API' },
    description: 'Certificate of the API in PEM; together with the key.',
  }),
  SLIPWAY_TLS_KEY: said(optionalText, {
    ...{ form: path, usual: 'no TLS', readBy: 'API' },
    description: 'Its key in PEM.',
  }),
  SLIPWAY_PUBLIC_URL: said(optionalUrl, {
    ...{ form: address, usual: 'no links', readBy: 'API and worker' },
    description: 'How people reach the API: links in notices, and in what a forge is told.',
  }),
  SLIPWAY_TEMPORAL_UI: said(optionalUrl, {
    ...{ form: address, usual: 'no links', readBy: 'API and worker' },
    description: 'How people reach the Temporal UI, for links to workflows.',
  }),
  SLIPWAY_CAPABILITIES: said(
    z
      .string()
      .optional()
      .transform((text) =>
        text === undefined || text.trim() === '' ? [...capabilities] : text.split(',').map((part) => part.trim()),
      )
      .pipe(z.array(z.enum(capabilities))),
    {
      ...{
        form: `some of ${capabilities.map((name) => `\`${name}\``).join(', ')}, divided by commas`,
        readBy: 'worker',
      },
      usual: 'all',
      description: 'What this worker does.',
    },
  ),
  SLIPWAY_WORKER_NAME: said(
    optionalText.refine(
      (text) => text === undefined || /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(text),
      'must be letters, digits, `.`, `_` and `-`',
    ),
    {
      ...{ form: 'letters, digits, `.`, `_` and `-`', usual: "the machine's name", readBy: 'worker' },
      description:
        'Names the task queue of its checkouts, so it must survive a restart and be that of no other worker.',
    },
  ),
  SLIPWAY_MACHINE_PATIENCE: said(z.coerce.number('must be a number of seconds').int().min(5).max(86_400).default(300), {
    ...{ form: 'seconds, 5 to 86,400', readBy: 'worker' },
    description:
      'A run that was prepared here begins anew elsewhere when its next stage was not taken for so long: this machine is lost then, or has more to do than it can.',
  }),
  SLIPWAY_DISK_HIGH: said(percent.default(defaultDiskLimits.high * 100), {
    ...{ form: 'percent, 1 to 99', readBy: 'worker' },
    description: 'From this much of a disk on, images of Slipway that nothing needs are removed.',
  }),
  SLIPWAY_DISK_LOW: said(percent.default(defaultDiskLimits.low * 100), {
    ...{ form: 'percent, 1 to 99', readBy: 'worker' },
    description: 'Until it is filled to less than this; less than `SLIPWAY_DISK_HIGH`.',
  }),
  SLIPWAY_LOG_LEVEL: said(z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']).default('info'), {
    ...{ form: '`trace`, `debug`, `info`, `warn`, `error`, `silent`', readBy: 'API and worker' },
    description: 'The least that a process writes to its log.',
  }),
});
