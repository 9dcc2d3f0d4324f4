import { type BranchProtection, type Pushers, pushers, unprotected } from '../../domain/branch-protection.ts';
import { githubAnswer, githubOptions, githubPlace } from '../forge-apis/github-client.ts';
import { type CreateProtectionReader, refusalOf } from './port.ts';

/** One place that protects a branch: its own protection, or one ruleset. */
interface Source extends Omit<BranchProtection, 'administrators' | 'approvals' | 'checkNames'> {
  readonly approvals: number;
  readonly checkNames: readonly string[];
  readonly administrators: boolean | null;
}

/**
 * GitHub has two: the protection of the branch and rulesets, of the repository and its organisation. What any of them asks is asked.
 *
 * The token must be allowed to read administration; GitHub answers 404 to one that is not, so only its own words say that nothing protects.
 */
export const createGithubProtection: CreateProtectionReader = async (options) => {
  const { Octokit } = await import('@octokit/rest');
  const place = githubPlace(options);
  const octokit = new Octokit(githubOptions(options));

  async function ofBranch(branch: string, check: string): Promise<readonly Source[]> {
    try {
      const { data } = await octokit.rest.repos.getBranchProtection({ ...place, branch });
      const { required_pull_request_reviews: reviews, required_status_checks: checks, restrictions } = data;
      const administrators = data.enforce_admins?.enabled === true;
      const own: Pushers = administrators ? 'nobody' : 'administrators';
      const past = reviews?.bypass_pull_request_allowances;
      const checkNames = [
        ...new Set([...(checks?.contexts ?? []), ...(checks?.checks ?? []).map(({ context }) => context)]),
      ];
      return [
        {
          pullRequest: reviews !== undefined,
          approvals: reviews?.required_approving_review_count ?? 0,
          statusChecks: checkNames.includes(check),
          checkNames,
          upToDate: checks?.strict === true,
          dismissesStale: reviews?.dismiss_stale_reviews === true,
          administrators,
          pushers:
            reviews !== undefined
              ? hasAny(past)
                ? 'others'
                : own
              : restrictions !== undefined && !hasAny(restrictions)
                ? own
                : 'others',
        },
      ];
    } catch (error) {
      const { status, words } = githubAnswer(error);
      if (status === 404 && /branch not protected/i.test(words)) return [];
      throw error;
    }
  }

  async function ofRulesets(branch: string, check: string): Promise<readonly Source[]> {
    const rules = await octokit.paginate(octokit.rest.repos.getBranchRules, { ...place, branch, per_page: 100 });
    const ids = [...new Set(rules.flatMap(({ ruleset_id: id }) => id ?? []))];
    return await Promise.all(
      ids.map(async (id): Promise<Source> => {
        const own = rules.filter((rule) => rule.ruleset_id === id);
        const { data } = await octokit.rest.repos.getRepoRuleset({ ...place, ruleset_id: id, includes_parents: true });
        const pull = own.find((rule) => rule.type === 'pull_request');
        const checks = own.find((rule) => rule.type === 'required_status_checks')?.parameters;
        const checkNames = (checks?.required_status_checks ?? []).map(({ context }) => context);
        const closed = pull !== undefined || own.some(({ type }) => type === 'update');
        const past = data.bypass_actors?.map(({ actor_type: type }) => type);
        return {
          pullRequest: pull !== undefined,
          approvals: pull?.parameters?.required_approving_review_count ?? 0,
          statusChecks: checkNames.includes(check),
          checkNames,
          upToDate: checks?.strict_required_status_checks_policy === true && checkNames.length > 0,
          dismissesStale: pull?.parameters?.dismiss_stale_reviews_on_push === true,
          // Only told to those who may change the ruleset.
          administrators: past === undefined ? null : past.length === 0,
          pushers: closed ? passersOf(past) : 'others',
        };
      }),
    );
  }

  return {
    async read(branch, check) {
      try {
        const [own, rulesets] = await Promise.all([ofBranch(branch, check), ofRulesets(branch, check)]);
        return together([...own, ...rulesets]);
      } catch (error) {
        throw refusalOf('GitHub', options, githubAnswer(error));
      }
    },
  };
};

function hasAny(
  people: { readonly users?: unknown[]; readonly teams?: unknown[]; readonly apps?: unknown[] } | undefined,
): boolean {
  return [people?.users, people?.teams, people?.apps].some((list) => (list?.length ?? 0) > 0);
}

function passersOf(past: readonly string[] | undefined): Pushers | null {
  if (past === undefined) return null;
  if (past.length === 0) return 'nobody';
  return past.every((type) => type === 'OrganizationAdmin') ? 'administrators' : 'others';
}

/** What several sources ask together. Administrators are included where those that include them ask all of it by themselves. */
function together(sources: readonly Source[]): BranchProtection {
  if (sources.length === 0) return unprotected;
  const all = summed(sources);
  const binding = summed(sources.filter(({ administrators }) => administrators === true));
  const possible = summed(sources.filter(({ administrators }) => administrators !== false));
  const same = (one: ReturnType<typeof summed>): boolean => JSON.stringify(one) === JSON.stringify(all);
  const known = sources.flatMap((source) => source.pushers ?? []);
  const least = pushers.find((who) => known.includes(who)) ?? null;
  return {
    ...all,
    checkNames: [...new Set(sources.flatMap(({ checkNames }) => checkNames))],
    administrators: same(binding) ? true : same(possible) ? null : false,
    // One that does not say may still let nobody past.
    pushers: least === 'others' && known.length < sources.length ? null : least,
  };
}

function summed(sources: readonly Source[]): Omit<BranchProtection, 'administrators' | 'pushers' | 'checkNames'> {
  return {
    pullRequest: sources.some(({ pullRequest }) => pullRequest === true),
    approvals: Math.max(0, ...sources.map(({ approvals }) => approvals)),
    statusChecks: sources.some(({ statusChecks }) => statusChecks === true),
    upToDate: sources.some(({ upToDate }) => upToDate === true),
    dismissesStale: sources.some(({ dismissesStale }) => dismissesStale === true),
  };
}
