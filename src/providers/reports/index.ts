import type { ReportKind } from '../../domain/report.ts';
import { bandit } from './bandit.ts';
import { black } from './black.ts';
import { checkov } from './checkov.ts';
import { clair } from './clair.ts';
import { cobertura } from './cobertura.ts';
import { coveragePy } from './coverage-py.ts';
import { cyclonedx } from './cyclonedx.ts';
import { dependencyCheck } from './dependency-check.ts';
import { eslint } from './eslint.ts';
import { flake8 } from './flake8.ts';
import { gitleaks } from './gitleaks.ts';
import { greatExpectations } from './great-expectations.ts';
import { grype } from './grype.ts';
import { isort } from './isort.ts';
import { junit } from './junit.ts';
import { lcov } from './lcov.ts';
import { mypy } from './mypy.ts';
import { osvScanner } from './osv-scanner.ts';
import { pipAudit } from './pip-audit.ts';
import { pipLicenses } from './pip-licenses.ts';
import { pipOutdated } from './pip-outdated.ts';
import type { ReportReader } from './port.ts';
import { pylint } from './pylint.ts';
import { safety } from './safety.ts';
import { sarif } from './sarif.ts';
import { semgrep } from './semgrep.ts';
import { sonarqube } from './sonarqube.ts';
import { spdx } from './spdx.ts';
import { trivy } from './trivy.ts';

/** Every form of report that can be read. */
export const reportReaders = {
  junit,
  cobertura,
  lcov,
  'coverage-py': coveragePy,
  sarif,
  flake8,
  pylint,
  black,
  isort,
  mypy,
  eslint,
  sonarqube,
  bandit,
  semgrep,
  gitleaks,
  safety,
  'pip-audit': pipAudit,
  'pip-licenses': pipLicenses,
  cyclonedx,
  spdx,
  'pip-outdated': pipOutdated,
  'osv-scanner': osvScanner,
  'dependency-check': dependencyCheck,
  trivy,
  grype,
  clair,
  checkov,
  'great-expectations': greatExpectations,
} as const satisfies { readonly [Kind in ReportKind]: ReportReader };
