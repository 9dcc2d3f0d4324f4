/** What an index is asked to answer with, the form for programs first. @see https://packaging.python.org/en/latest/specifications/simple-repository-api/ */
export const simpleTypes =
  'application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1';

/** A file as the list of a project names it. */
export interface ListedFile {
  /** 64 hexadecimal digits; undefined where the index names another digest, or none. */
  readonly sha256: string | undefined;
}

/**
 * Looks for a file in the list of a project, as JSON or as a page.
 *
 * @returns undefined where the list has no such file.
 * @throws Error - it is no such list.
 */
export function findListed(list: string, file: string): ListedFile | undefined {
  const sha256 = /^\s*\{/.test(list) ? inJson(list, file) : inPage(list, file);
  return sha256 === null ? undefined : { sha256 };
}

function inJson(list: string, file: string): string | undefined | null {
  const { files } = JSON.parse(list) as { readonly files?: unknown };
  if (!Array.isArray(files)) throw new Error('its list has no files');
  for (const each of files as unknown[]) {
    const { filename, hashes } = (each ?? {}) as { readonly filename?: unknown; readonly hashes?: unknown };
    if (filename !== file) continue;
    const { sha256 } = (hashes ?? {}) as { readonly sha256?: unknown };
    return digest(typeof sha256 === 'string' ? sha256 : undefined);
  }
  return null;
}

function inPage(page: string, file: string): string | undefined | null {
  for (const [, quoted, single] of page.matchAll(/<a\s[^>]{0,4000}?href\s*=\s*(?:"([^"]*)"|'([^']*)')/gi)) {
    const [address = '', fragment = ''] = (quoted ?? single ?? '').replaceAll('&amp;', '&').split('#', 2);
    if (lastPart(address) !== file) continue;
    return digest(/(?:^|&)sha256=([0-9a-f]{64})(?:&|$)/i.exec(fragment)?.[1]);
  }
  return null;
}

function lastPart(address: string): string | undefined {
  try {
    return decodeURIComponent(address.split('?', 1)[0]?.split('/').at(-1) ?? '');
  } catch {
    return undefined;
  }
}

function digest(text: string | undefined): string | undefined {
  return text !== undefined && /^[0-9a-f]{64}$/i.test(text) ? text.toLowerCase() : undefined;
}
