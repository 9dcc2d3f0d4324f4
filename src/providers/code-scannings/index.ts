import { createGithubScanning } from './github.ts';
import type { CreateCodeScanning } from './port.ts';

/** Every forge that has code scanning, by the kind that a project names. GitLab reads reports of its own jobs only; the others have none. */
export const codeScannings = {
  github: createGithubScanning,
} as const satisfies Readonly<Record<string, CreateCodeScanning>>;

export type ScanningKind = keyof typeof codeScannings;

export function isScanningKind(kind: string): kind is ScanningKind {
  return Object.hasOwn(codeScannings, kind);
}
