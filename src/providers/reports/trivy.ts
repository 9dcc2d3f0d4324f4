import { z } from 'zod';
import type { ImageFacts, LicensedPackage } from '../../domain/report.ts';
import { counted } from '../../domain/counted.ts';
import { type RawFinding, createFindings, oneLine, severityOf } from './findings.ts';
import { each, readJson } from './json.ts';
import { licencesAtOnce, mostPackages, unknownLicence } from './licences.ts';
import { type ReportReader, UnreadableReport, mostStreamedBytes } from './port.ts';

const Vulnerability = z.looseObject({
  VulnerabilityID: z.string(),
  PkgName: z.string(),
  InstalledVersion: z.string().optional(),
  FixedVersion: z.string().optional(),
  Severity: z.string().optional(),
  Title: z.string().optional(),
  Description: z.string().optional(),
});
type Vulnerability = z.output<typeof Vulnerability>;
const Misconfiguration = z.looseObject({
  ID: z.string(),
  Title: z.string().optional(),
  Message: z.string().optional(),
  Severity: z.string(),
  Status: z.string().optional(),
  CauseMetadata: z.looseObject({ StartLine: z.number().optional() }).optional(),
});
type Misconfiguration = z.output<typeof Misconfiguration>;
const Secret = z.looseObject({
  RuleID: z.string(),
  Severity: z.string(),
  Title: z.string(),
  StartLine: z.number().optional(),
});
type Secret = z.output<typeof Secret>;
const Licence = z.looseObject({
  PkgName: z.string().optional(),
  FilePath: z.string().optional(),
  Name: z.string(),
});
/** What an ignore file, a policy or a VEX document took away; `Finding` is one of the others. */
const Modified = z.looseObject({
  Type: z.string(),
  Status: z.string().optional(),
  Statement: z.string().optional(),
  Source: z.string().optional(),
  Finding: z.unknown(),
});
const OperatingSystem = z.looseObject({
  Family: z.string().optional(),
  Name: z.string().optional(),
  EOSL: z.boolean().optional(),
});
const Layer = z.looseObject({ created: z.string().optional(), empty_layer: z.boolean().optional() });

/** trivy's JSON of an image, a file system or a repository (schema 2). */
export const trivy: ReportReader = {
  kind: 'trivy',
  made: 'trivy image --format json --output trivy.json IMAGE',
  maxBytes: mostStreamedBytes,
  async read(source) {
    const findings = createFindings('trivy');
    let name = '';
    let type = '';
    let target = '';
    let targets = 0;
    let version: string | undefined;
    let user = '';
    let layers = 0;
    let oldest: string | undefined;
    const dates = { missing: false };
    const licences = new Map<string, string[]>();
    const vulnerability = (one: Vulnerability): RawFinding => ({
      rule: one.VulnerabilityID,
      severity: severityOf(one.Severity),
      message: one.Title ?? one.Description ?? one.VulnerabilityID,
      file: target,
      component: {
        name: one.PkgName,
        ...(one.InstalledVersion === undefined ? {} : { version: one.InstalledVersion }),
        fixedIn: (one.FixedVersion ?? '').split(',').flatMap((text) => (text.trim() === '' ? [] : [text.trim()])),
      },
      identity: one.VulnerabilityID,
    });
    const misconfiguration = (one: Misconfiguration): RawFinding => ({
      rule: one.ID,
      severity: severityOf(one.Severity),
      message: one.Message ?? one.Title ?? one.ID,
      file: target,
      line: one.CauseMetadata?.StartLine,
    });
    const modified = ({ Type, Finding }: z.output<typeof Modified>): RawFinding | undefined => {
      const [vulnerable, misconfigured, leaked] = [
        Vulnerability.safeParse(Finding),
        Misconfiguration.safeParse(Finding),
        Secret.safeParse(Finding),
      ];
      if (Type === 'vulnerability' && vulnerable.success) return vulnerability(vulnerable.data);
      if (Type === 'misconfiguration' && misconfigured.success) return misconfiguration(misconfigured.data);
      return Type === 'secret' && leaked.success ? secret(leaked.data) : undefined;
    };
    const secret = ({ RuleID, Severity, Title, StartLine }: Secret): RawFinding => ({
      rule: RuleID,
      severity: severityOf(Severity),
      message: Title,
      file: target,
      line: StartLine,
    });
    await readJson(source, {
      maxBytes: this.maxBytes,
      needs: { SchemaVersion: 'value', ArtifactName: 'value' },
      picks: {
        SchemaVersion: each(z.literal(2), () => undefined),
        'Trivy/Version': each(z.string(), (text) => (version = oneLine(text, 60))),
        ArtifactName: each(z.string(), (text) => (name = oneLine(text, 300))),
        ArtifactType: each(z.string(), (text) => (type = text)),
        'Metadata/ImageConfig/config/User': each(z.string(), (text) => (user = oneLine(text, 60))),
        'Metadata/ImageConfig/history/*': each(Layer, ({ created, empty_layer = false }) => {
          if (!empty_layer) layers += 1;
          const at = Date.parse(created ?? '');
          // Reproducible builds date their layers to 1970; that is no age, and what stands on one may be as new as it likes.
          if (!(at > 86_400_000)) dates.missing = true;
          else if (oldest === undefined || at < Date.parse(oldest)) oldest = new Date(at).toISOString();
        }),
        'Results/*/Target': each(z.string(), (text) => {
          targets += 1;
          target = oneLine(text, 300);
        }),
        'Metadata/OS': each(OperatingSystem, ({ Family = '', Name = '', EOSL = false }) => {
          if (!EOSL) return;
          const system = oneLine(`${Family} ${Name}`, 60);
          findings.add({
            rule: 'end-of-life',
            severity: 'high',
            message: `${system} is not maintained any more: nobody writes advisories of its packages, so that none are found`,
            component: { name: Family, version: Name },
            identity: 'end-of-life',
          });
        }),
        'Results/*/Vulnerabilities/*': each(Vulnerability, (one) => findings.add(vulnerability(one))),
        'Results/*/Misconfigurations/*': each(Misconfiguration, (one) => {
          if ((one.Status ?? 'FAIL') === 'FAIL') findings.add(misconfiguration(one));
        }),
        'Results/*/Secrets/*': each(Secret, (one) => findings.add(secret(one))),
        'Results/*/Licenses/*': each(Licence, ({ PkgName = '', FilePath = '', Name }) => {
          const of = oneLine(PkgName === '' ? FilePath : PkgName, 200);
          if (!licences.has(of) && licences.size >= mostPackages)
            throw new UnreadableReport(`names more than ${mostPackages} packages`);
          licences.set(of, [...(licences.get(of) ?? []), Name === '' ? unknownLicence : Name].slice(0, 20));
        }),
        'Results/*/ExperimentalModifiedFindings/*': each(Modified, (one) => {
          const reason = `${one.Status ?? 'put aside'}${one.Source === undefined ? '' : ` by ${one.Source}`}: ${one.Statement ?? 'without a reason'}`;
          const found = modified(one);
          if (found !== undefined) findings.putAside(found, reason);
        }),
      },
    });
    if (targets === 0) {
      throw new UnreadableReport('says that trivy found nothing to look at', {
        remedy: 'Check that what was scanned has packages that trivy knows.',
      });
    }
    const packages: readonly LicensedPackage[] = [...licences].map(([of, all]) => ({
      name: of,
      version: '',
      licence: oneLine(licencesAtOnce([...new Set(all)]), 300),
    }));
    const image: ImageFacts | undefined =
      type === 'container_image'
        ? { name, layers, user, baseCreatedAt: dates.missing ? null : (oldest ?? null) }
        : undefined;
    return {
      tool: { name: 'trivy', ...(version === undefined ? {} : { version }) },
      lookedAt: `${name}: ${counted(targets, 'target')}`,
      ...findings.done(),
      ...(image === undefined ? {} : { image }),
      ...(packages.length === 0 ? {} : { packages }),
    };
  },
};
