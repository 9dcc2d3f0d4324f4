import { posix } from 'node:path';

/** By the end of the name; anything else is handed out as bytes, which no browser shows. */
const contentTypes: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.htm': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.txt': 'text/plain; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.gif': 'image/gif',
  '.jpg': 'image/jpeg',
  '.jpeg': 'image/jpeg',
  '.webp': 'image/webp',
  '.ico': 'image/x-icon',
  '.woff': 'font/woff',
  '.woff2': 'font/woff2',
  '.ttf': 'font/ttf',
  '.otf': 'font/otf',
};

/**
 * The page is foreign: it runs in an origin of its own that no other page shares, may show and calculate, and may neither send anything nor ask this
 * API with the reader's rights. `'self'` is the address that it came from, not that origin.
 */
const sandbox = [
  'sandbox allow-scripts',
  "default-src 'none'",
  "script-src 'unsafe-inline' 'self'",
  "style-src 'unsafe-inline' 'self'",
  "img-src 'self' data:",
  "font-src 'self' data:",
  "form-action 'none'",
  "base-uri 'none'",
  "frame-ancestors 'self'",
].join('; ');

/**
 * What a page that a tool made is sent with, so that a browser can show it and it can do nothing there.
 *
 * Its origin is opaque, so to the browser even its own style sheet is of somebody else: `Cross-Origin-Resource-Policy` has to let everybody have
 * it, and fonts and modules, which are asked for by CORS, the origin `null`. That gives nothing away: whoever asks must have the token or a
 * signed path, and none of it goes by a cookie. There is no `Cross-Origin-Opener-Policy`: by HTML ("create navigation params by fetching") a sandboxed
 * page that has one is a network error, though Chromium shows it.
 */
export function foreignPageHeaders(name: string): Readonly<Record<string, string>> {
  return {
    'content-type': contentTypes[posix.extname(name).toLowerCase()] ?? 'application/octet-stream',
    'content-security-policy': sandbox,
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cross-origin-resource-policy': 'cross-origin',
    'access-control-allow-origin': 'null',
    'cache-control': 'private, max-age=60',
  };
}
