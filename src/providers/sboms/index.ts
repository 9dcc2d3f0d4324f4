import { createSyftSbomMaker } from './syft.ts';

/** All kinds of makers of bills of materials there are. */
export const sbomMakers = { syft: { create: createSyftSbomMaker } } as const;
