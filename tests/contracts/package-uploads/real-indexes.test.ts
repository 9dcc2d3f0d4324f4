import { expect } from '@jest/globals';
import { startPypiserver, startVerdaccio } from '../../support/package-indexes.ts';
import { installNpm, installPython, packageUploadsSuite } from '../../support/package-uploads-suite.ts';
import { npmPackage, sdistPackage } from '../../support/packages.ts';
import { startUploadProxy } from '../../support/upload-proxy.ts';

packageUploadsSuite(
  'Verdaccio',
  async () => {
    const index = await startVerdaccio();
    const proxy = await startUploadProxy(index.url);
    return {
      ...{ kind: 'npm', address: { url: proxy.url }, login: index.login, proxy },
      install: (read) => installNpm(index.url, read),
      async close() {
        await proxy.close();
        await index.stop();
        expect(index.log()).not.toContain(index.login.kind === 'token' ? index.login.token : index.login.password);
      },
    };
  },
  (_, identity) => npmPackage({ ...identity, name: `@shop/${identity.name}` }),
);

packageUploadsSuite('pypiserver', async () => {
  const index = await startPypiserver();
  const proxy = await startUploadProxy(index.url);
  return {
    ...{ kind: 'python', address: { url: `${proxy.url}/`, simple: `${proxy.url}/simple/` }, login: index.login, proxy },
    install: (read) => installPython(`${index.url}/simple`, read),
    async close() {
      await proxy.close();
      await index.stop();
    },
  };
});

packageUploadsSuite(
  'pypiserver, of source distributions',
  async () => {
    const index = await startPypiserver();
    const proxy = await startUploadProxy(index.url);
    return {
      ...{
        kind: 'python',
        address: { url: `${proxy.url}/`, simple: `${proxy.url}/simple/` },
        login: index.login,
        proxy,
      },
      install: (read) => installPython(`${index.url}/simple`, read),
      async close() {
        await proxy.close();
        await index.stop();
      },
    };
  },
  (_, identity) => sdistPackage(identity),
);
