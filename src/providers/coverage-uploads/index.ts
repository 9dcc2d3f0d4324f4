import { createCodecovUploads } from './codecov.ts';
import type { CreateCoverageUploads } from './port.ts';

/** Every service for coverage, by the kind that a project names. */
export const coverageUploads = {
  codecov: createCodecovUploads,
} as const satisfies Readonly<Record<string, CreateCoverageUploads>>;
