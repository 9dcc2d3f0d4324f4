import { createCosignSigner } from './cosign.ts';

/** All kinds of signers there are. */
export const signers = { cosign: { create: createCosignSigner } } as const;
