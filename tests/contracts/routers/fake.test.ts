import { createFakeRouter } from '../../support/fakes/router.ts';
import { describeRouter } from './suite.ts';

describeRouter('fake', () => {
  const router = createFakeRouter();
  return Promise.resolve({
    router,
    listenPorts: [1, 2],
    upstreamPorts: [3, 4],
    goAway: async () => {
      router.goAway();
      await Promise.resolve();
    },
    comeBack: async () => {
      router.comeBack();
      await Promise.resolve();
    },
    stop: () => Promise.resolve(),
  });
});
