import { createHash } from 'node:crypto';
import { type Html, markup } from '../domain/html.ts';

/** Readable on a phone, in light and in dark, and without a script. */
const style = `
:root{color-scheme:light dark;--line:#8884;--bad:#c62828;--good:#2e7d32;--warn:#b26a00}
@media (prefers-color-scheme:dark){:root{--bad:#ff8a80;--good:#81c784;--warn:#ffb74d}}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;padding:1rem;max-width:72rem;overflow-wrap:anywhere}
h1{font-size:1.5rem;line-height:1.25;margin:.5rem 0}
h2{font-size:1.15rem;margin:2rem 0 .5rem;border-bottom:1px solid var(--line)}
p,ul{margin:.5rem 0}ul{padding-left:1.25rem}
code{font:.875em ui-monospace,monospace}
.scroll{overflow-x:auto}
table{border-collapse:collapse;min-width:100%;overflow-wrap:normal}
th,td{text-align:left;vertical-align:top;padding:.35rem .75rem .35rem 0;border-bottom:1px solid var(--line)}
.passed,.succeeded{color:var(--good)}.failed,.errored,.critical,.high,.rejected,.expired{color:var(--bad)}
.inconclusive,.medium,.running,.aborted,.superseded{color:var(--warn)}
.state{font-weight:600}
label{display:block;margin:1rem 0 .25rem}
input{font:inherit;width:100%;max-width:32rem;padding:.5rem}
button{font:inherit;margin-top:1rem;padding:.5rem 1.25rem}
`;

/** No script, nothing of anybody else, and a form that goes nowhere else. */
const policy = [
  "default-src 'none'",
  `style-src 'sha256-${createHash('sha256').update(style).digest('base64')}'`,
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** What a page of our own is sent with. */
export const ownPageHeaders: Readonly<Record<string, string>> = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy': policy,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
};

/** A whole page. */
export function ownPage(title: string, body: Html): string {
  return markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>${{ html: style }}</style>
</head>
<body>
<main>
${body}
</main>
</body>
</html>
`.html;
}

/** Asks for a token; the form goes to the address of the page itself. */
export function signInPage(why: string): string {
  return ownPage(
    'Slipway: sign in to read',
    markup`<h1>Sign in to read this page</h1>
<p>${why}</p>
<form method="post">
<label for="token">Token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<br><button type="submit">Open the page</button>
</form>
<p>Any token of this installation will do; one that may only read is made by <code>slipway token create you --role viewer</code>. This browser
remembers for 8 hours that you may read pages; it does not keep the token.</p>`,
  );
}

/** What was refused, in words; `again` is where it can be had, a path of ours. */
export function problemPage(title: string, detail: string, again: string | undefined): string {
  const link = again === undefined ? '' : markup`<p><a href="${again}">Open it by its own address</a></p>`;
  return ownPage(
    `Slipway: ${title}`,
    markup`<h1>${title}</h1>
<p>${detail}</p>
${link}`,
  );
}
