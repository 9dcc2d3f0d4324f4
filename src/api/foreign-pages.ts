import { posix } from 'node:path';

/** By the end of the name; anything else is handed out as bytes, which no browser shows. */
const contentTypes: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.htm': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.txt': 'text/plain; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.gif': 'image/gif',
  '.jpg': 'image/jpeg',
  '.ico': 'image/x-icon',
  '.woff2': 'font/woff2',
};

/**
 * The page is foreign: it runs in an origin of its own that no other page shares, may show and calculate, and may neither send anything nor ask this
 * API with the reader's rights.
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

/** What a page that a tool made is sent with, so that a browser can show it and it can do nothing there. */
export function foreignPageHeaders(name: string): Readonly<Record<string, string>> {
  return {
    'content-type': contentTypes[posix.extname(name).toLowerCase()] ?? 'application/octet-stream',
    'content-security-policy': sandbox,
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
  };
}
