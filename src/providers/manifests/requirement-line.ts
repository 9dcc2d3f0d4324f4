import { type Requirement, parsePipRequirementsLine } from 'pip-requirements-js';
import { normalizedName } from '../package-indexes/python.ts';

/** One requirement that is pinned to one version. */
export interface RequirementPin {
  /** Normalized (PEP 503). */
  readonly name: string;
  readonly version: string;
}

export type RequirementReading =
  | { readonly kind: 'pin'; readonly pin: RequirementPin }
  /** A range, an address, another file: nothing that this looks after. */
  | { readonly kind: 'other' }
  | { readonly kind: 'unreadable' };

/** Options of a line of its own kind; what comes after a requirement is cut before. */
const optionLine = /^\s*-/;
/** A local path or an address without a name: pip takes it, PEP 508 does not. */
const bareAddress = /^\s*(?:[./]|[a-z][a-z0-9+.-]*:\/\/|(?:git|hg|svn|bzr)\+)/i;

/** Reads one requirement (PEP 508), without options of pip behind it. */
export function readRequirement(text: string): RequirementReading {
  if (optionLine.test(text) || bareAddress.test(text)) return { kind: 'other' };
  let read: Requirement | null;
  try {
    read = parsePipRequirementsLine(text);
  } catch {
    return { kind: 'unreadable' };
  }
  if (read?.type !== 'ProjectName') return { kind: 'other' };
  const [only, ...others] = read.versionSpec ?? [];
  // The operators are an enum of the parser's; its values are what stands in the file.
  if (only === undefined || others.length > 0 || (only.operator as string) !== '==' || only.version.includes('*')) {
    return { kind: 'other' };
  }
  return { kind: 'pin', pin: { name: normalizedName(read.name), version: only.version } };
}

/** The same requirement with another version behind its `==`. */
export function withVersion(text: string, from: string, to: string): string {
  const at = text.indexOf('==');
  const start = text.indexOf(from, at);
  if (at === -1 || start === -1) return text;
  return text.slice(0, start) + to + text.slice(start + from.length);
}
