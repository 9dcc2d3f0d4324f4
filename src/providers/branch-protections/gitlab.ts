import { type Pushers, unprotected } from '../../domain/branch-protection.ts';
import { gitlabAnswer, gitlabOptions } from '../forge-apis/gitlab-client.ts';
import { type CreateProtectionReader, refusalOf } from './port.ts';

/** Access levels of GitLab (docs.gitlab.com, protected branches API). */
const noAccess = 0;
const admin = 60;

/**
 * GitLab: the protected branches of the project, what it asks of merge requests, and its approval rules, which only paid editions have.
 *
 * A maintainer is no administrator here: only "No one" and "Administrators" may be allowed to push.
 */
export const createGitlabProtection: CreateProtectionReader = async (options) => {
  const { Gitlab } = await import('@gitbeaker/rest');
  const { repository: project } = options;
  const api = new Gitlab(gitlabOptions(options));

  /** Approvals by rules that hold for the branch; null where the edition has none, or the token may not see them. */
  async function approvalsOf(branch: string): Promise<{ readonly count: number; readonly reset: boolean } | null> {
    try {
      const [settings, rules] = await Promise.all([
        api.MergeRequestApprovals.showConfiguration(project),
        api.MergeRequestApprovals.allApprovalRules(project),
      ]);
      const own = rules.filter(({ protected_branches: branches = [] }) => {
        return branches.length === 0 || branches.some(({ name }) => matches(name, branch));
      });
      return {
        count: Math.max(0, ...own.map(({ approvals_required: count }) => count)),
        reset: settings.reset_approvals_on_push,
      };
    } catch (error) {
      if ([401, 403, 404].includes(gitlabAnswer(error).status ?? 0)) return null;
      throw error;
    }
  }

  return {
    async read(branch) {
      try {
        const [{ only_allow_merge_if_pipeline_succeeds: checks, ...settings }, all, approvals] = await Promise.all([
          api.Projects.show(project),
          api.ProtectedBranches.all(project, { perPage: 100 }),
          approvalsOf(branch),
        ]);
        const own = all.filter(({ name }) => matches(name, branch));
        const levels = own.flatMap(({ push_access_levels: allowed = [] }) => allowed);
        const open = levels.filter(({ access_level: level }: { readonly access_level: number }) => level !== noAccess);
        let who: Pushers = open.length === 0 ? 'nobody' : 'others';
        if (open.length > 0 && open.every(isAdministrator)) who = 'administrators';
        if (own.length === 0) who = unprotected.pushers ?? 'others';
        return {
          pullRequest: who !== 'others',
          approvals: approvals?.count ?? null,
          // A skipped pipeline has shown nothing.
          statusChecks: checks && !settings.allow_merge_on_skipped_pipeline,
          upToDate: settings.merge_method === 'ff' || settings.merge_method === 'rebase_merge',
          dismissesStale: approvals?.reset ?? null,
          administrators: who === 'nobody',
          pushers: who,
        };
      } catch (error) {
        throw refusalOf('GitLab', options, gitlabAnswer(error));
      }
    },
  };
};

function isAdministrator(level: object): boolean {
  const { access_level: given, ...whom } = level as Readonly<Record<string, unknown>>;
  const named = ['user_id', 'group_id', 'deploy_key_id'].some((key) => typeof whom[key] === 'number');
  return given === admin && !named;
}

/** GitLab's `*` also matches slashes. Takes the parts in order, each as early as it comes: a pattern of many stars is no more work. */
function matches(pattern: string, branch: string): boolean {
  const [first = '', ...rest] = pattern.split('*');
  const last = rest.pop();
  if (last === undefined) return branch === first;
  if (!branch.startsWith(first) || !branch.endsWith(last)) return false;
  let at = first.length;
  for (const part of rest) {
    const found = branch.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return at <= branch.length - last.length;
}
