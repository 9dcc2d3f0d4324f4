import parse from 'spdx-expression-parse';
import satisfies from 'spdx-satisfies';
import type { Finding, LicensedPackage } from './report.ts';

/** What of an image a policy of licences is held against: all packages, those that are not of its distribution, or none. */
export const licenceScopes = ['all', 'libraries', 'off'] as const;
export type LicenceScope = (typeof licenceScopes)[number];

/** SPDX ids of what may be used, and of what never may. */
export interface LicencePolicy {
  /** Null: everything that is not denied. */
  readonly allow: readonly string[] | null;
  readonly deny: readonly string[];
  /** Of images that Slipway builds, by its own list of them. Default: `all`. */
  readonly images?: LicenceScope;
}

/** Whether any licence is not let pass; without a policy none is looked at. */
export function asksForLicences({ allow, deny }: LicencePolicy): boolean {
  return allow !== null || deny.length > 0;
}

/** … and whether the images of a run have to be listed for it. */
export function asksForImageLicences(policy: LicencePolicy): boolean {
  return asksForLicences(policy) && policy.images !== 'off';
}

/** True for one licence of the SPDX list, with `+` or an exception where wanted; what a policy may name. */
export function isLicence(text: string): boolean {
  const parsed = parseExpression(text);
  return parsed !== undefined && 'license' in parsed;
}

/** The repository may allow less and deny more. */
export function stricterLicences(floor: LicencePolicy, wish: LicencePolicy | undefined): LicencePolicy {
  if (wish === undefined) return floor;
  const { allow: wanted } = wish;
  const allow = wanted === null ? floor.allow : (floor.allow ?? wanted).filter((licence) => wanted.includes(licence));
  const images = widerScope(floor, wish);
  return { allow, deny: [...new Set([...floor.deny, ...wish.deny])], ...(images === undefined ? {} : { images }) };
}

/** Who asks for no licence has not said of which packages. */
function widerScope(floor: LicencePolicy, wish: LicencePolicy): LicenceScope | undefined {
  if (!asksForLicences(floor)) return wish.images;
  if (wish.images === undefined) return floor.images;
  const { images = 'all' } = floor;
  return licenceScopes.find((scope) => scope === images || scope === wish.images);
}

/**
 * A finding for each package whose licence is denied, not allowed, or not known. `MIT OR GPL-3.0-only` may be used under MIT; of
 * `MIT AND GPL-3.0-only` both must be allowed.
 *
 * @param image - that the packages lie in. Default: they are those of the source.
 */
export function judgeLicences(
  packages: readonly LicensedPackage[],
  policy: LicencePolicy,
  image?: string,
): readonly Finding[] {
  if (!(image === undefined ? asksForLicences(policy) : asksForImageLicences(policy))) return [];
  const judged =
    image !== undefined && policy.images === 'libraries' ? packages.filter(({ system }) => system !== true) : packages;
  const where = image === undefined ? '' : ` in image ${image}`;
  return judged.flatMap((one) => {
    const complaint = complaintOf(one.licence, policy);
    if (complaint === undefined) return [];
    return [
      {
        rule: complaint.rule,
        severity: 'high' as const,
        message: `${one.name} ${one.version}${where}: ${complaint.message}`,
        ...(image === undefined ? {} : { file: image }),
        component: { name: one.name, version: one.version },
        fingerprint: `${complaint.rule}/${image === undefined ? '' : `${image}/`}${one.name}/${one.licence}`,
      },
    ];
  });
}

function complaintOf(
  text: string,
  { allow, deny }: LicencePolicy,
): { readonly rule: string; readonly message: string } | undefined {
  const expression = expressionOf(text);
  if (expression === undefined) {
    return { rule: 'licence-unknown', message: `its licence \`${text}\` is none that is known` };
  }
  const leaves = leavesOf(expression);
  const allowed = leaves.filter((leaf) => (allow === null || isOneOf(leaf, allow)) && !isOneOf(leaf, deny));
  if (allowed.length > 0 && satisfies(expression, allowed)) return undefined;
  const denied = leaves.filter((leaf) => isOneOf(leaf, deny));
  return denied.length > 0
    ? { rule: 'licence-denied', message: `its licence \`${text}\` is denied` }
    : { rule: 'licence-not-allowed', message: `its licence \`${text}\` is not among those allowed` };
}

function isOneOf(licence: string, list: readonly string[]): boolean {
  return list.length > 0 && satisfies(licence, [...list]);
}

/** Licences of one package that hold at once; judgement. */
const mostParts = 10;

/** Names that PyPI's classifiers and old metadata give. */
const synonyms: Readonly<Record<string, string>> = {
  'mit license': 'MIT',
  'the mit license': 'MIT',
  'apache software license': 'Apache-2.0',
  'apache license 2.0': 'Apache-2.0',
  'apache license, version 2.0': 'Apache-2.0',
  'apache 2.0': 'Apache-2.0',
  'isc license (iscl)': 'ISC',
  'isc license': 'ISC',
  'mozilla public license 2.0 (mpl 2.0)': 'MPL-2.0',
  'python software foundation license': 'PSF-2.0',
  'the unlicense (unlicense)': 'Unlicense',
  // One of the two; which one does not matter where both are allowed.
  'bsd license': 'BSD-2-Clause AND BSD-3-Clause',
  bsd: 'BSD-2-Clause AND BSD-3-Clause',
  'gnu general public license v2 (gplv2)': 'GPL-2.0-only',
  'gnu general public license v2 or later (gplv2+)': 'GPL-2.0-or-later',
  'gnu general public license v3 (gplv3)': 'GPL-3.0-only',
  'gnu general public license v3 or later (gplv3+)': 'GPL-3.0-or-later',
  'gnu lesser general public license v2 or later (lgplv2+)': 'LGPL-2.1-or-later',
  'gnu lesser general public license v3 (lgplv3)': 'LGPL-3.0-only',
  'gnu affero general public license v3': 'AGPL-3.0-only',
};

/** An SPDX expression of what a package says; several names divided by `;` are all its licences at once. */
function expressionOf(text: string): string | undefined {
  if (parseExpression(text) !== undefined) return text;
  const parts = text.split(/;|(?<=\))\s*,/).map((part) => part.trim());
  const known = parts.map((part) => (parseExpression(part) === undefined ? synonyms[part.toLowerCase()] : part));
  if (parts.length > mostParts || known.some((part) => part === undefined)) return undefined;
  return known.map((part) => `(${String(part)})`).join(' AND ');
}

function leavesOf(expression: string): readonly string[] {
  const leaves: string[] = [];
  const pending = [parse(expression)];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if ('conjunction' in next) pending.push(next.left, next.right);
    else
      leaves.push(
        `${next.license}${next.plus === true ? '+' : ''}${next.exception === undefined ? '' : ` WITH ${next.exception}`}`,
      );
  }
  return leaves;
}

function parseExpression(text: string): ReturnType<typeof parse> | undefined {
  // Longer ones are texts of licences; and what both libraries make of many alternatives grows by powers of two.
  if (text.length > 300 || text.split(/\bAND\b/i).length > mostParts || /\b(?:NOASSERTION|NONE)\b/i.test(text))
    return undefined;
  try {
    return parse(text);
  } catch {
    return undefined;
  }
}
