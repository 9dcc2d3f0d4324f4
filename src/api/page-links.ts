import { createSeals } from './seals.ts';

/** A path by which one person may read one page, or the pages of one folder, for a while. */
export interface SignedPath {
  readonly path: string;
  /** ISO 8601. */
  readonly until: string;
}

/**
 * How a browser reads pages, for it has no header to put a token into: by a cookie at their own addresses, and by signed paths, which carry the right
 * to the style sheets, images and scripts beside a page: a page in a sandbox gets no cookie.
 */
export interface PageLinks {
  /**
   * @param reader - id of a token.
   * @param opens - the address of a page, or with a slash at its end that of a folder; what is signed opens nothing else.
   * @param rest - path below the folder; empty for a page.
   * @param until - ms since 1970. Default: in an hour, which is judgement: the reader clicks now, and every address can be signed again.
   */
  sign(reader: string, opens: string, rest: string, until?: number): SignedPath;
  /** @throws ProviderError `LinkInvalid`, `LinkExpired` (not retried) */
  open(seal: string, opens: string): { readonly reader: string; readonly until: number };
  /** What the cookie of somebody who has shown a token holds; it is good for reading pages, and not the token. */
  remember(reader: string): string;
  /** @returns the id of a token; undefined where there is no such cookie, or it is over. */
  remembered(cookie: string | undefined): string | undefined;
}

export const pagesCookie = 'slipway-pages';
/** A working day. */
export const rememberedSeconds = 8 * 3600;
/** Before the address of a page comes this and the seal, so that relative addresses in it stay below the seal. */
export const signedPrefix = '/signed';

const linkMs = 3_600_000;
const reading = 'reading pages';

/** @param now - ms since 1970. Default `Date.now`. */
export function createPageLinks(installationKey: string, now: () => number = Date.now): PageLinks {
  const paths = createSeals(installationKey, 'signed path', now);
  const cookies = createSeals(installationKey, 'cookie of pages', now);
  return {
    sign(reader, opens, rest, until = now() + linkMs) {
      const path = `${signedPrefix}/${paths.seal(opens, reader, until)}${opens}${rest}`;
      return { path, until: new Date(until).toISOString() };
    },
    open: (seal, opens) => paths.open(seal, opens),
    remember: (reader) => cookies.seal(reading, reader, now() + rememberedSeconds * 1000),
    remembered(cookie) {
      if (cookie === undefined) return undefined;
      try {
        return cookies.open(cookie, reading).reader;
      } catch {
        return undefined;
      }
    },
  };
}

/**
 * What a signed path for an address of a run opens, and the rest of the address: of pages of tools all that lie in one folder, of anything else nothing
 * but itself.
 */
export function openingOf(address: string): { readonly opens: string; readonly rest: string } {
  const folder = /^\/v1\/projects\/[^/]+\/runs\/\d+\/(?:pages|documentation)\/[^/]+\/[^/]+\//.exec(address)?.[0];
  return folder === undefined ? { opens: address, rest: '' } : { opens: folder, rest: address.slice(folder.length) };
}

/** What a signed path of a route opens: its address, up to where it takes any path. */
export function openedBy(route: string, params: Readonly<Record<string, string>>): string {
  return route.replace(/\*$/, '').replaceAll(/:(\w+)/g, (_, name: string) => encodeURIComponent(params[name] ?? ''));
}
