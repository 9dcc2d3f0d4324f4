import { Unreadable } from './archive.ts';

/** Core metadata: every field that stands there, in their order. */
export type PythonMetadata = readonly (readonly [field: string, value: string])[];

/** @see https://packaging.python.org/en/latest/specifications/name-normalization/ */
const namePattern = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,200}[A-Za-z0-9])?$/;

/** @see https://packaging.python.org/en/latest/specifications/version-specifiers/ */
const versionPattern =
  /^(?:\d+!)?\d+(?:\.\d+)*(?:[._-]?(?:alpha|a|beta|b|preview|pre|c|rc)[._-]?\d*)?(?:-\d+|[._-]?(?:post|rev|r)[._-]?\d*)?(?:[._-]?dev[._-]?\d*)?(?:\+[a-z0-9]+(?:[._-][a-z0-9]+)*)?$/i;

/** Fields that an upload has under another name than their own. @see https://docs.pypi.org/api/upload/ */
const formNames: Readonly<Record<string, string>> = { classifier: 'classifiers', project_url: 'project_urls' };

/** Fields of an upload that say what Slipway itself has found out; a package does not speak for them. */
const ownFields = new Set(['name', 'version', 'filetype', 'pyversion', 'content', 'protocol_version', 'comment']);

/**
 * Reads `METADATA` or `PKG-INFO`: headers as a letter has them, then the description.
 *
 * @throws Unreadable
 */
export function readPythonMetadata(content: Buffer): PythonMetadata {
  const text = new TextDecoder('utf-8', { fatal: true }).decode(content).replaceAll('\r\n', '\n');
  const end = text.indexOf('\n\n');
  const head = end < 0 ? text : text.slice(0, end);
  const fields: [string, string][] = [];
  for (const line of head.split('\n')) {
    const last = fields.at(-1);
    if (/^[ \t]/.test(line) && last !== undefined) {
      last[1] += `\n${line.trim().replace(/^\|/, '')}`;
      continue;
    }
    if (line === '') continue;
    const [, name, value = ''] = /^([A-Za-z][A-Za-z0-9-]*):[ \t]*(.*)$/.exec(line) ?? [];
    if (name === undefined) throw new Unreadable('has metadata that are none');
    fields.push([name.toLowerCase().replaceAll('-', '_'), value.trimEnd()]);
  }
  const body = end < 0 ? '' : text.slice(end + 2);
  if (body.trim() !== '') fields.push(['description', body]);
  return fields;
}

/**
 * The one value of a field.
 *
 * @throws Unreadable
 */
export function oneOf(metadata: PythonMetadata, field: string): string {
  const [value, ...more] = metadata.filter(([name]) => name === field).map(([, text]) => text);
  if (value === undefined || value === '') throw new Unreadable(`says no ${field}`);
  if (more.length > 0) throw new Unreadable(`says its ${field} more than once`);
  return value;
}

/** @throws Unreadable */
export function identityOf(metadata: PythonMetadata): { readonly name: string; readonly version: string } {
  const name = oneOf(metadata, 'name');
  const version = oneOf(metadata, 'version');
  if (!namePattern.test(name))
    throw new Unreadable(`has ${JSON.stringify(name.slice(0, 100))} as its name, which is none`);
  if (version.length > 100 || !versionPattern.test(version)) {
    throw new Unreadable(`has ${JSON.stringify(version.slice(0, 100))} as its version, which is none`);
  }
  return { name, version };
}

/** Its fields as an upload names them. */
export function formFieldsOf(metadata: PythonMetadata): PythonMetadata {
  return metadata
    .filter(([field]) => !ownFields.has(field) && !field.endsWith('_digest') && !field.startsWith(':'))
    .map(([field, value]) => [formNames[field] ?? field, value] as const);
}
