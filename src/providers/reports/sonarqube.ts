import { z } from 'zod';
import { counted } from '../../domain/counted.ts';
import { createFindings } from './findings.ts';
import { each, readJson } from './json.ts';
import { type ReportReader, UnreadableReport, mostHeldBytes } from './port.ts';

const Condition = z.looseObject({
  status: z.string(),
  metricKey: z.string(),
  comparator: z.string().optional(),
  errorThreshold: z.string().optional(),
  actualValue: z.string().optional(),
});

/**
 * The quality gate of a SonarQube server, as `api/qualitygates/project_status` answers. It names no commit: asked by `projectKey` the server answers with
 * its last finished analysis, which may be that of another one. `analysisId` is that of this run (docs/reports.md).
 */
export const sonarqube: ReportReader = {
  kind: 'sonarqube',
  made: 'curl …/api/qualitygates/project_status?analysisId=…',
  maxBytes: mostHeldBytes,
  async read(source) {
    const findings = createFindings('sonarqube');
    let status = '';
    let conditions = 0;
    let failed = 0;
    await readJson(source, {
      maxBytes: this.maxBytes,
      needs: { 'projectStatus/status': 'value' },
      picks: {
        'projectStatus/status': each(z.string(), (text) => (status = text)),
        'projectStatus/conditions/*': each(Condition, (condition) => {
          conditions += 1;
          if (condition.status === 'OK') return;
          if (condition.status === 'ERROR') failed += 1;
          const { metricKey, actualValue = '?', comparator, errorThreshold = '?' } = condition;
          findings.add({
            rule: metricKey,
            severity: condition.status === 'ERROR' ? 'high' : 'medium',
            message: `${metricKey} is ${actualValue}, and must not be ${comparator === 'LT' ? 'below' : 'above'} ${errorThreshold}`,
          });
        }),
      },
    });
    if (status === 'NONE') {
      throw new UnreadableReport('says that the server has not judged the project', {
        remedy: 'Wait for the analysis (`sonar.qualitygate.wait=true`), and give the project a quality gate.',
      });
    }
    if (!['OK', 'WARN', 'ERROR'].includes(status))
      throw new UnreadableReport(`has the unknown status ${JSON.stringify(status.slice(0, 40))}`);
    if (status === 'OK' && conditions === 0) {
      throw new UnreadableReport('says that the gate of the server has no condition, so that nothing could fail', {
        remedy: 'Give the quality gate of the project conditions.',
      });
    }
    if (status === 'ERROR' && failed === 0) {
      findings.add({ rule: 'quality-gate', severity: 'high', message: 'The quality gate of the server failed.' });
    }
    return { tool: { name: 'SonarQube' }, lookedAt: counted(conditions, 'condition'), ...findings.done() };
  },
};
