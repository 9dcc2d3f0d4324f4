import { z } from 'zod';
import type { ImageFacts } from '../../domain/report.ts';
import { counted } from '../../domain/counted.ts';
import { createFindings, oneLine, severityOf } from './findings.ts';
import { each, readJson } from './json.ts';
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
const Misconfiguration = z.looseObject({
  ID: z.string(),
  Title: z.string().optional(),
  Message: z.string().optional(),
  Severity: z.string(),
  Status: z.string().optional(),
  CauseMetadata: z.looseObject({ StartLine: z.number().optional() }).optional(),
});
const Secret = z.looseObject({
  RuleID: z.string(),
  Severity: z.string(),
  Title: z.string(),
  StartLine: z.number().optional(),
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
        'Results/*/Vulnerabilities/*': each(Vulnerability, (one) =>
          findings.add({
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
          }),
        ),
        'Results/*/Misconfigurations/*': each(Misconfiguration, (one) => {
          if ((one.Status ?? 'FAIL') !== 'FAIL') return;
          const line = one.CauseMetadata?.StartLine;
          const message = one.Message ?? one.Title ?? one.ID;
          findings.add({ rule: one.ID, severity: severityOf(one.Severity), message, file: target, line });
        }),
        'Results/*/Secrets/*': each(Secret, ({ RuleID, Severity, Title, StartLine }) =>
          findings.add({ rule: RuleID, severity: severityOf(Severity), message: Title, file: target, line: StartLine }),
        ),
      },
    });
    if (targets === 0) {
      throw new UnreadableReport('says that trivy found nothing to look at', {
        remedy: 'Check that what was scanned has packages that trivy knows.',
      });
    }
    const image: ImageFacts | undefined =
      type === 'container_image'
        ? { name, layers, user, baseCreatedAt: dates.missing ? null : (oldest ?? null) }
        : undefined;
    return {
      tool: { name: 'trivy', ...(version === undefined ? {} : { version }) },
      lookedAt: `${name}: ${counted(targets, 'target')}`,
      ...findings.done(),
      ...(image === undefined ? {} : { image }),
    };
  },
};
