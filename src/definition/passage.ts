/**
 * What both documents leave open, so that the plan of every release is refused or has to say that nobody looked. None of it is a mistake of a
 * document: a run goes through, and only the deployment does not, which is late to hear of it.
 */
import { type GateName, type GatePolicy, gateOfKind } from '../domain/gate.ts';
import { asksForImageLicences } from '../domain/licence.ts';
import type { Path } from './document.ts';
import { resolveEnvironmentGates } from './gates.ts';
import type { Finding } from './problems.ts';
import { isProduction } from './production.ts';
import type { ProjectDefinition } from './project.ts';
import type { RepositoryDefinition } from './repository.ts';

type Environment = ProjectDefinition['environments'][string];

export interface PassageQuestion {
  readonly project: ProjectDefinition;
  /** Without it nothing is said of what only the repository can declare. */
  readonly repository?: RepositoryDefinition;
  /** Whether this machine could list what is in an image; undefined where nobody looked. */
  readonly listsImages?: boolean;
}

/** Everything of the kind, as findings of `project.yaml`. */
export function passageFindings(question: PassageQuestion): readonly Finding[] {
  const { project } = question;
  return [
    ...Object.entries(project.environments).flatMap(([name, environment]) =>
      ofEnvironment(question, name, environment, ['environments', name]),
    ),
    ...ofImages(question),
  ];
}

function ofEnvironment(
  { project, repository }: PassageQuestion,
  name: string,
  environment: Environment,
  path: Path,
): readonly Finding[] {
  const policies = resolveEnvironmentGates({ repository: repository ?? {}, project }, name);
  return policies.flatMap((policy): readonly Finding[] => {
    if (!policy.demanded || policy.mode === 'off') return [];
    if (policy.gate === 'compliance') return ofCompliance(policy, environment, path);
    if (policy.gate === 'access-control') return ofAccess(policy, name, environment, path);
    return repository === undefined || policy.mode !== 'block' ? [] : ofReports(policy, project, repository, name);
  });
}

/** What cannot be found out closes production also where the gate only warns. */
function ofCompliance(policy: GatePolicy, environment: Environment, path: Path): readonly Finding[] {
  const { encryptionAtRest, database, backup } = environment;
  const off = 'or put the gate aside with `gates: { compliance: { mode: off } }`.';
  const findings: Finding[] = [];
  if (encryptionAtRest === undefined && (policy.mode === 'block' || policy.erroredBlocks)) {
    findings.push({
      path: [...path, 'encryptionAtRest'],
      message: 'is not declared, so the plan of every release is refused here: gate `compliance` is errored',
      hint: `Say \`encryptionAtRest: true\` where disks and databases are encrypted, ${off}`,
    });
  }
  if (policy.mode !== 'block') return findings;
  if (encryptionAtRest === false) {
    findings.push({
      path: [...path, 'encryptionAtRest'],
      message: 'is `false`, so the plan of every release is refused here: gate `compliance` fails',
      hint: `Encrypt what lies there and say \`true\`, ${off}`,
    });
  }
  const setting = backup.database === false ? 'database' : 'prove';
  if (database !== undefined && (backup.database === false || !backup.prove)) {
    findings.push({
      path: [...path, 'backup', setting],
      message: `is \`false\`, so the plan of a release is refused here unless a backup was proved by a restore in the last ${policy.backupAgeHours} h: gate \`compliance\` fails`,
      hint: `Have backups taken and proved before a release, ${off}`,
    });
  }
  return findings;
}

function ofAccess(policy: GatePolicy, name: string, environment: Environment, path: Path): readonly Finding[] {
  const { required, rules } = environment.approval;
  if (policy.mode !== 'block' || ((required ?? isProduction(name, environment)) && rules.length > 0)) return [];
  return [
    {
      path: [...path, 'approval', required === false ? 'required' : 'rules'],
      message: 'lets a release go without anybody agreeing, so its plan is refused here: gate `access-control` fails',
      hint: 'Name who must approve, or put the gate aside with `gates: { access-control: { mode: off } }`.',
    },
  ];
}

/** A gate that is asked for and is told nothing is errored, never passed. */
function ofReports(
  { gate, reports, licences }: GatePolicy,
  project: ProjectDefinition,
  repository: RepositoryDefinition,
  name: string,
): readonly Finding[] {
  const declared = repository.stages.flatMap((stage) => [
    ...stage.reports,
    ...stage.steps.flatMap((step) => step.reports),
  ]);
  const own = declared.filter((report) => report.kind !== 'html' && (report.gate ?? gateOfKind[report.kind]) === gate);
  const isScanned = gate === 'container' && project.images.scan !== undefined;
  const missing = reports.filter((kind) => !own.some((report) => report.kind === kind));
  const isListed = gate === 'dependencies' && repository.images.length > 0 && asksForImageLicences(licences);
  const nothing = own.length === 0 && !isScanned && !isListed;
  if (!nothing && missing.length === 0) return [];
  return [
    {
      path: pathOfGate(project, name, gate),
      message: `blocks, and no stage of slipway.yaml has ${missing.length === 0 ? 'a report for it' : `a report of ${missing.join(', ')}`}: the plan of every release is refused here`,
      hint: 'Declare the report at the step that writes it (`reports`), or put the gate aside with `mode: off`.',
    },
  ];
}

/** The environment asks for it, or the project does for all of them. */
function pathOfGate(project: ProjectDefinition, name: string, gate: GateName): Path {
  const own = project.environments[name]?.gates?.[gate] !== undefined;
  return [...(own ? ['environments', name] : []), 'gates', gate];
}

/** Not looked into is no reason to refuse anything where nobody asked; each plan says so, and so does this. */
function ofImages({ project, repository, listsImages }: PassageQuestion): readonly Finding[] {
  if (repository?.images.length === 0) return [];
  const { scan, sbom } = project.images;
  const findings: Finding[] = [];
  if (scan === undefined) {
    findings.push({
      path: ['images', 'scan'],
      message: 'is not there: no image is looked up for vulnerable packages, and each plan says so',
      hint: 'Name a scanner and the folder of its advisories; docs/supply-chain.md has an example.',
    });
  }
  // A scan needs the list, and has its maker built.
  if (scan === undefined && sbom === 'auto' && listsImages === false) {
    findings.push({
      path: ['images', 'sbom'],
      message: 'is `auto`, and there is no syft on this machine: images that it builds get no bill of materials',
      hint: 'Put syft on the PATH of the workers, or say `required`, and they build it.',
    });
  }
  return findings;
}
