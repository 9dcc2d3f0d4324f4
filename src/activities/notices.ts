import { resolveNotifications } from '../definition/environment.ts';
import { loadProject } from '../definition/load.ts';
import type { NotifierSpec } from '../definition/specs/notifier.ts';
import type { SecretRef } from '../definition/specs/secret.ts';
import { ProviderError, toFailure } from '../domain/failures.ts';
import type { NoticeEvent } from '../domain/notice.ts';
import type { NoticeLevel } from '../domain/outcome.ts';
import { createNotifier } from '../providers/notifiers/index.ts';
import type { NoticeLog } from '../providers/notifiers/log.ts';
import { readDeployment } from '../store/deployments.ts';
import { type DueNotice, claimNotice, readDueNotices, settleNotice } from '../store/notices.ts';
import { readProject } from '../store/projects.ts';
import type { Store } from '../store/store.ts';
import { deploymentId } from '../workflows/messages.ts';
import type { Notice, NoticeActivities } from './contracts.ts';
import { planLines } from './notice-texts.ts';

export interface NoticeDependencies {
  readonly store: Pick<Store, 'db'>;
  readonly logger: NoticeLog;
  /** @throws ProviderError `SecretMissing` (not retried) */
  readonly readSecret: (ref: SecretRef) => Promise<string>;
  /** For links. */
  readonly settings: { readonly publicUrl?: string | undefined; readonly temporalUi?: string | undefined };
}

/** All channels together; an approval's clock waits for it. */
const timeoutMs = 10_000;
/** Of the whole, for one channel: the rest is for writing down how it went. */
const sendTimeoutMs = 8_000;
/** The store may take this long to say whether a message was sent before; then it is sent. */
const storeTimeoutMs = 1_500;

/**
 * Whoever writes an outcome down waits for a message so long at most, ms: two of them leave half of such an activity's 8 s for the record itself.
 * Judgement.
 */
const inPassingMs = 2_000;

const order: Readonly<Record<NoticeLevel, number>> = { info: 0, warning: 1, error: 2, critical: 3 };
/** Who asked for the wider event wants the narrower one too. */
const alsoKnownAs: Readonly<Partial<Record<NoticeEvent, readonly NoticeEvent[]>>> = {
  'tests-failed': ['run-failed'],
  'build-failed': ['run-failed'],
};
/** The notice of the run says the same, so these go only to who asked for them by name. */
const partsOfAnother: readonly NoticeEvent[] = ['tests-passed', 'build-succeeded'];

/**
 * Sends beside work that must end: a channel that takes a message and never answers is left to itself, and stops no run and no deployment. The
 * message goes on, and what is not delivered is sent again by {@link NoticeSender.resendNotices}.
 */
export function inPassing(send: (notice: Notice) => Promise<void>, patienceMs = inPassingMs): typeof send {
  return async (notice) => {
    // `within` refuses when it has waited long enough, which is no fault here.
    await within(patienceMs, send(notice)).catch(() => undefined);
  };
}

/** Of what is sent again at once; the rest a moment later. */
const mostResent = 50;

/** Sends notices, and sends them again. */
export interface NoticeSender extends NoticeActivities {
  /**
   * Sends what a channel has not taken and what a dead worker left, each when its time has come. Any number of workers may do so at once.
   *
   * @returns how many were tried.
   * @throws StoreUnavailable (retried by whoever calls it again and again)
   */
  resendNotices(): Promise<number>;
}

/**
 * Messages to people by the routes of their project. Nothing that goes wrong here is anybody else's trouble: what a channel does not take is
 * written down and sent again for an hour, whoever asked for it and whether or not they still run.
 */
export function createNoticeActivities({ store, logger, readSecret, settings }: NoticeDependencies): NoticeSender {
  /** As last read, for the time when the store is away: that is when people must hear. */
  const known = new Map<string, readonly NotifierSpec[]>();

  async function channelsOf(project: string): Promise<readonly NotifierSpec[]> {
    try {
      const stored = await within(storeTimeoutMs, readProject(store.db, project));
      const loaded = stored === undefined ? undefined : loadProject({ file: 'project.yaml', text: stored.text });
      if (loaded?.ok === true) known.set(project, withOwnNames(resolveNotifications(loaded.value)));
    } catch (error) {
      logger.warn({ err: error, project }, 'the routes of notices could not be read; those read last are used');
    }
    return known.get(project) ?? [lastResort];
  }

  async function send(channel: NotifierSpec, notice: Notice): Promise<void> {
    const { key, event, level, project, environment, title } = notice;
    const { lines } = notice;
    const message = { event, level, project, environment, title, lines };
    const claim = { key, channel: channel.name, event, level, project, environment, title, message };
    // Twice is better than never: when the store cannot say, it is sent.
    const mine = await within(storeTimeoutMs, claimNotice(store.db, claim)).catch(() => true);
    if (!mine) return;
    let error: string | undefined;
    let retryable = true;
    try {
      const notifier = await createNotifier(channel, { log: logger, readSecret });
      await notifier.send(notice, { signal: AbortSignal.timeout(sendTimeoutMs) });
    } catch (reason) {
      error = reason instanceof Error ? reason.message : String(reason);
      retryable = !(reason instanceof ProviderError) || reason.retryable;
      logger.warn({ notice: key, channel: channel.name, reason: error, retryable }, 'a notice was not delivered');
    }
    const settling = settleNotice(store.db, key, channel.name, { error, retryable });
    const kept = await within(storeTimeoutMs, settling).catch(() => false);
    // Nobody else knows of it: whoever asked for it has to ask again.
    if (error !== undefined && retryable && !kept) throw new ProviderError('NotifierFailed', error);
  }

  async function resend({ key, channel: name, message }: DueNotice): Promise<void> {
    const channel = (await channelsOf(message.project)).find((each) => each.name === name);
    if (channel === undefined) {
      const error = `The project has no notifier ${name} any more.`;
      await settleNotice(store.db, key, name, { error, retryable: false });
      return;
    }
    await send(channel, { ...withoutUndefined(message), key });
  }

  async function sendAll(notice: Notice): Promise<void> {
    const channels = (await channelsOf(notice.project)).filter((channel) => wants(channel, notice));
    if (channels.length === 0) return;
    const complete = withLinks(await withPlan(notice));
    // Each goes its way; one that fails keeps no other from being waited for.
    const ended = await Promise.allSettled(channels.map((channel) => send(channel, complete)));
    const failed = ended.find((each) => each.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  /** Somebody who is to decide wants to see on what. */
  async function withPlan(notice: Notice): Promise<Notice> {
    if (notice.event !== 'approval-requested') return notice;
    const [project = '', environment = '', number = ''] = notice.key.split('/');
    const ref = { project, environment, number: Number(number) };
    const record = await within(storeTimeoutMs, readDeployment(store.db, ref)).catch(() => undefined);
    const plan = record?.plan ?? undefined;
    if (record === undefined || plan === undefined) return notice;
    const { approval } = plan.policy;
    const until = notice.lines.filter((line) => line.startsWith('approve within'));
    return {
      ...notice,
      lines: [
        ...planLines(plan),
        `author ${record.author}; asked for by ${record.requestedBy}`,
        `needs ${approval.rules.map((rule) => `${rule.count} of @${rule.group}`).join(' and ')}`,
        ...until,
        `slipway approve ${project}/${environment}/${number} --plan ${plan.hash.slice(0, 8)}`,
        `slipway reject ${project}/${environment}/${number} --plan ${plan.hash.slice(0, 8)} --comment …`,
        `temporal workflow signal --workflow-id ${deploymentId(ref)} --name approve --input '{"by":"<you>","plan":"${plan.hash.slice(0, 8)}"}'`,
      ],
    };
  }

  function withLinks(notice: Notice): Notice {
    const { publicUrl, temporalUi } = settings;
    const [first = '', second = '', number = ''] = notice.key.split('/');
    const page =
      notice.page ??
      (notice.environment === undefined
        ? `/v1/projects/${first}/runs/${number}`
        : `/v1/projects/${first}/environments/${second}/deployments/${number}`);
    return {
      ...notice,
      lines: [
        ...notice.lines,
        ...(publicUrl === undefined ? [] : [`${publicUrl}${page}`]),
        ...(temporalUi === undefined ? [] : [temporalUi]),
      ],
    };
  }

  return {
    async sendNotice(notice) {
      try {
        await within(timeoutMs, sendAll(notice));
      } catch (error) {
        logger.warn({ err: error, notice: notice.key }, 'a notice could not be sent');
        if (error instanceof ProviderError && error.type === 'NotifierFailed') throw toFailure(error);
      }
    },

    async resendNotices() {
      const due = await readDueNotices(store.db, mostResent);
      await Promise.all(
        due.map((each) =>
          resend(each).catch((error: unknown) =>
            logger.warn({ err: error, notice: each.key }, 'a notice could not be sent again'),
          ),
        ),
      );
      return due.length;
    },
  };
}

function withoutUndefined({ environment, ...message }: DueNotice['message']): Omit<Notice, 'key'> {
  return environment === undefined ? message : { ...message, environment };
}

/** Where a project's routes were never read. */
const lastResort: NotifierSpec = { kind: 'log', name: 'log', level: 'info', events: [], environments: [] };

function wants({ level, events, environments }: NotifierSpec, notice: Notice): boolean {
  const names = [notice.event, ...(alsoKnownAs[notice.event] ?? [])];
  return (
    order[notice.level] >= order[level] &&
    (events.length === 0 ? !partsOfAnother.includes(notice.event) : names.some((name) => events.includes(name))) &&
    (environments.length === 0 || (notice.environment !== undefined && environments.includes(notice.environment)))
  );
}

/** Two channels of one name would take each other's messages for their own. */
function withOwnNames(specs: readonly NotifierSpec[]): readonly NotifierSpec[] {
  const seen = new Map<string, number>();
  return specs.map((spec) => {
    const count = (seen.get(spec.name) ?? 0) + 1;
    seen.set(spec.name, count);
    return count === 1 ? spec : { ...spec, name: `${spec.name}-${count}` };
  });
}

async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`took longer than ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
