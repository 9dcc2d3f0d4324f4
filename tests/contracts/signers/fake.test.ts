import { createHash } from 'node:crypto';
import type { SignedImage } from '../../../src/providers/signers/port.ts';
import { createFakeSigner } from '../../support/fakes/signer.ts';
import { describeSigner } from './suite.ts';

describeSigner('fake', () => {
  const signer = createFakeSigner();
  const registry = { address: 'registry.example', insecure: false };
  const keyOf = (publicKey: string) => ({ publicKey, privateKey: `private:${publicKey}`, password: '' });
  let made = 0;
  const imageOf = (repository: string): SignedImage => {
    made += 1;
    return { registry, repository, digest: `sha256:${createHash('sha256').update(String(made)).digest('hex')}` };
  };
  return Promise.resolve({
    signer: {
      sign: (image, ...rest) => of(image).sign(image, ...rest),
      attest: (image, ...rest) => of(image).attest(image, ...rest),
      verifySignature: (image, ...rest) => of(image).verifySignature(image, ...rest),
      readAttestations: (image, ...rest) => of(image).readAttestations(image, ...rest),
      listAttested: (image, ...rest) => of(image).listAttested(image, ...rest),
      forget: (image, ...rest) => of(image).forget(image, ...rest),
      ready: () => signer.ready(),
    },
    own: keyOf('own'),
    stranger: keyOf('stranger'),
    newImage: () => {
      const image = imageOf('registry.example/app');
      signer.add(image);
      return Promise.resolve(image);
    },
    away: () => imageOf('away.example/app'),
    stop: () => undefined,
  });

  function of({ repository }: SignedImage): typeof signer {
    signer.setAway(repository.startsWith('away.'));
    return signer;
  }
});
