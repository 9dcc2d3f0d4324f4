import { createFakeTarget } from '../../support/fakes/target.ts';
import { describeTarget } from './suite.ts';

describeTarget('fake', () => {
  const target = createFakeTarget();
  return Promise.resolve({
    target,
    image: { name: 'hello', repository: 'registry.example/hello', digest: `sha256:${'0'.repeat(64)}` },
    ports: { blue: 1, green: 2 },
    breakVersion: (version) => {
      target.makeUnhealthy(version);
      return Promise.resolve({});
    },
    stop: () => Promise.resolve(),
  });
});
