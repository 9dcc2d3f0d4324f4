import type { Client } from '@temporalio/client';
import type { FastifyBaseLogger } from 'fastify';
import type { SecretRef } from '../definition/specs/secret.ts';
import type { DecisionProofs } from '../effects/decision-proofs.ts';
import type { LogFiles } from '../effects/log-files.ts';
import type { BlobStore } from '../providers/blobs/port.ts';
import type { Store } from '../store/store.ts';

/** What the API is given; it finds and starts nothing itself. */
export interface ApiDependencies {
  readonly store: Store;
  readonly temporal: Client;
  /** Where the output of steps lies. */
  readonly logs: LogFiles;
  /** Where artifacts, and pages that tools made, lie. */
  readonly blobs: BlobStore;
  /** @throws ProviderError `SecretMissing` (not retried) */
  readonly readSecret: (ref: SecretRef) => Promise<string>;
  /** By the key that workers have too. */
  readonly proofs: DecisionProofs;
  /**
   * The commit that a full ref of a project's repository points at. Absent: runs by hand must name their commit.
   *
   * @throws ProviderError `CommitNotFound`, `RepositoryRefused` (not retried), `RepositoryUnreachable` (retried)
   */
  readonly resolveRef?: (project: string, ref: string) => Promise<string>;
  /** The same for every process of the installation; keys of links to pages are derived from it. */
  readonly installationKey: string;
  readonly settings: ApiSettings;
  readonly logger?: FastifyBaseLogger | undefined;
}

export interface ApiSettings {
  /** Task queue of the workflows. */
  readonly taskQueue: string;
  /** For links, without a slash at the end. */
  readonly publicUrl?: string | undefined;
  readonly temporalUi?: string | undefined;
  /** PEM; present when the API speaks TLS. */
  readonly tls?: { readonly cert: Buffer; readonly key: Buffer } | undefined;
  /** How often what was accepted and not started is looked for, ms. Default 10_000; 0 never. */
  readonly sweepMs?: number;
  /** How long a command waits for the answer of a workflow, ms. Default 10_000. */
  readonly commandTimeoutMs?: number;
  /** Webhooks of one project: this many at once … Default 1_000. */
  readonly webhookBurst?: number;
  /** … and this many a minute after them. Default 2_000. */
  readonly webhooksPerMinute?: number;
}
