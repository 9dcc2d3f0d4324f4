/**
 * What a browser does with a page and with what the page loads, as far as headers decide it. Written by the standards and checked by a real
 * browser in `tests/browser`: Fetch ("CORS check", "cross-origin resource policy check", "should response be blocked due to nosniff"), HTML ("create
 * navigation params by fetching") and CSP 3.
 */

export interface Answer {
  readonly url: string;
  readonly headers: Readonly<Record<string, unknown>>;
}

export type Loaded = 'style' | 'script' | 'module' | 'image' | 'font';

/**
 * By HTML alone: Chromium 156 shows such a page in a tab of its own all the same, and who knows what the next one does.
 *
 * @returns why a browser may not show the page; undefined where it does.
 */
export function whyNotShown(page: Answer): string | undefined {
  const opener = headerOf(page, 'cross-origin-opener-policy') || 'unsafe-none';
  if (directive(page, 'sandbox') !== undefined && opener !== 'unsafe-none') {
    return `a sandboxed page with Cross-Origin-Opener-Policy: ${opener} is a network error`;
  }
  return undefined;
}

/** @returns why the page does not get what it asks for; undefined where it does. */
export function whyNotLoaded(page: Answer, answer: Answer, as: Loaded): string | undefined {
  return policyForbids(page, answer, as) ?? originForbids(page, answer, as) ?? typeForbids(answer, as);
}

/** `null` for the opaque one of a sandbox. */
export function originOf(page: Answer): string {
  const sandbox = directive(page, 'sandbox');
  return sandbox !== undefined && !sandbox.includes('allow-same-origin') ? 'null' : new URL(page.url).origin;
}

function policyForbids(page: Answer, answer: Answer, as: Loaded): string | undefined {
  const names = { style: 'style-src', script: 'script-src', module: 'script-src', image: 'img-src', font: 'font-src' };
  const sources = directive(page, names[as]) ?? directive(page, 'default-src');
  if (sources === undefined) return undefined;
  // 'self' is the address of the page, whatever a sandbox makes of its origin.
  const own = sources.includes("'self'") && new URL(answer.url).origin === new URL(page.url).origin;
  return own ? undefined : `Content-Security-Policy has no source for ${as}`;
}

function originForbids(page: Answer, answer: Answer, as: Loaded): string | undefined {
  const origin = originOf(page);
  if (origin === new URL(answer.url).origin) return undefined;
  if (as === 'font' || as === 'module') {
    const allowed = headerOf(answer, 'access-control-allow-origin');
    return allowed === '*' || allowed === origin ? undefined : `CORS does not let ${origin} have it`;
  }
  // What is same-site with an opaque origin? Nothing.
  const policy = headerOf(answer, 'cross-origin-resource-policy') || 'cross-origin';
  return policy === 'cross-origin' ? undefined : `Cross-Origin-Resource-Policy: ${policy} keeps it from ${origin}`;
}

function typeForbids(answer: Answer, as: Loaded): string | undefined {
  const type = headerOf(answer, 'content-type').split(';')[0];
  const strict = headerOf(answer, 'x-content-type-options') === 'nosniff';
  const needed = { style: 'text/css', script: 'text/javascript', module: 'text/javascript', image: null, font: null }[
    as
  ];
  return strict && needed !== null && type !== needed ? `${type ?? ''} is no ${as}` : undefined;
}

function headerOf({ headers }: Answer, name: string): string {
  const value = headers[name];
  return typeof value === 'string' ? value.trim() : '';
}

/** The parts of a directive of the policy; undefined where it has none. */
function directive(page: Answer, name: string): readonly string[] | undefined {
  const found = headerOf(page, 'content-security-policy')
    .split(';')
    .map((each) => each.trim().split(/\s+/))
    .find(([first]) => first === name);
  return found?.slice(1);
}
