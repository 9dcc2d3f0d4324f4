import type { NotifierSpec } from '../../definition/specs/notifier.ts';
import type { SecretRef } from '../../definition/specs/secret.ts';
import { type NoticeLog, createLogNotifier } from './log.ts';
import type { Notifier } from './port.ts';
import { createSlackNotifier } from './slack.ts';

export interface NotifierDependencies {
  readonly log: NoticeLog;
  /** @throws ProviderError `SecretMissing` (not retried) */
  readonly readSecret: (ref: SecretRef) => Promise<string>;
}

/** Every kind of notifier there is. */
const notifiers: {
  readonly [K in NotifierSpec['kind']]: (
    spec: Extract<NotifierSpec, { readonly kind: K }>,
    dependencies: NotifierDependencies,
  ) => Promise<Notifier>;
} = {
  slack: async (spec, { readSecret }) => createSlackNotifier({ url: await readSecret(spec.url) }),
  log: (_, { log }) => Promise.resolve(createLogNotifier(log)),
};

/** Makes a notifier; its secret is read now. */
export async function createNotifier(spec: NotifierSpec, dependencies: NotifierDependencies): Promise<Notifier> {
  return spec.kind === 'slack' ? await notifiers.slack(spec, dependencies) : await notifiers.log(spec, dependencies);
}
