/** Where notices go. */
import type { SecretRef } from './secret.ts';

interface NotifierBase {
  readonly name: string;
  /** Lowest level that goes here. */
  readonly level: 'info' | 'warning' | 'error' | 'critical';
  /** Only these events; all of them when empty. */
  readonly events: readonly string[];
  /** Only these environments; all of them, and runs, when empty. */
  readonly environments: readonly string[];
}

/** A Slack-compatible incoming webhook. */
export interface SlackNotifierSpec extends NotifierBase {
  readonly kind: 'slack';
  readonly url: SecretRef;
}

/** The log of the worker. */
export interface LogNotifierSpec extends NotifierBase {
  readonly kind: 'log';
}

export type NotifierSpec = SlackNotifierSpec | LogNotifierSpec;
