import { call } from './call.ts';
import { showPage } from './progress.ts';
import { bringing, message } from './proxies/word.ts';
import { notBroughtBack } from './stages/notices.ts';
import type { HotfixLive } from './stages/start-merge-back.ts';

/**
 * Asks a hotfix that is live back into the branches it did not come from. By itself, so that neither its deployment nor the environments that come
 * after it in the route wait for a forge that is away.
 *
 * @returns whether it is asked back; where it is not, people have been told.
 */
export async function bringHotfixBack(input: HotfixLive): Promise<{ readonly broughtBack: boolean }> {
  const { deployment, version } = input;
  const title = `${deployment.project} ${version}: back from ${deployment.environment}`;
  try {
    await call(bringing.mergeBack, 'asks the hotfix back into its branches', input);
  } catch (error) {
    const notice = notBroughtBack(deployment, version, error);
    showPage(title, ['**not asked back**', ...notice.lines]);
    await call(message.sendNotice, `${notice.level}: ${notice.title}`, notice).catch(() => undefined);
    return { broughtBack: false };
  }
  showPage(title, ['asked back into its branches']);
  return { broughtBack: true };
}
