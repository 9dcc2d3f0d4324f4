import { z } from 'zod';
import { unprotected } from '../../domain/branch-protection.ts';
import { matchesRef } from '../../domain/glob.ts';
import { createForgeHttp } from '../forge-apis/http.ts';
import type { CreateProtectionReader } from './port.ts';

const people = z.array(z.string()).nullish();

/** A rule as Gitea and Forgejo answer it (their swagger: BranchProtection). */
const Rule = z.looseObject({
  rule_name: z.string(),
  priority: z.number().optional(),
  enable_push: z.boolean(),
  enable_push_whitelist: z.boolean(),
  push_whitelist_usernames: people,
  push_whitelist_teams: people,
  push_whitelist_deploy_keys: z.boolean().optional(),
  required_approvals: z.number(),
  enable_status_check: z.boolean(),
  status_check_contexts: z.array(z.string()).nullish(),
  block_on_outdated_branch: z.boolean().optional(),
  dismiss_stale_approvals: z.boolean().optional(),
  /** Of Gitea since 1.23. */
  block_admin_merge_override: z.boolean().optional(),
  /** Of Forgejo. */
  apply_to_admins: z.boolean().optional(),
});

const hosted = 'https://gitea.com';

/** Gitea and Forgejo: one rule holds for a branch, that with its name before patterns. The token must belong to an administrator of the repository. */
export const createGiteaProtection: CreateProtectionReader = (options) => {
  const { repository, token, url = hosted } = options;
  const http = createForgeHttp({
    ...options,
    forge: 'Gitea',
    base: `${url.replace(/\/api\/v1$/, '')}/api/v1/repos/${repository.split('/').map(encodeURIComponent).join('/')}`,
    authorization: `token ${token}`,
  });

  return Promise.resolve({
    async read(branch, check) {
      const rules = await http.attempt(() => http.ask('GET', '/branch_protections', { answer: z.array(Rule) }));
      const named = rules.find(({ rule_name: name }) => name === branch);
      const byPattern = [...rules]
        .sort((a, b) => (a.priority ?? 0) - (b.priority ?? 0))
        .find(({ rule_name: name }) => matchesRef(name, branch));
      const rule = named ?? byPattern;
      if (rule === undefined) return unprotected;
      const listed =
        (rule.push_whitelist_usernames ?? []).length > 0 ||
        (rule.push_whitelist_teams ?? []).length > 0 ||
        rule.push_whitelist_deploy_keys === true;
      const closed = !rule.enable_push || (rule.enable_push_whitelist && !listed);
      // Without one it goes by whatever has come so far.
      const checkNames = rule.enable_status_check ? (rule.status_check_contexts ?? []) : [];
      const flags = [rule.block_admin_merge_override, rule.apply_to_admins].filter((flag) => flag !== undefined);
      return {
        pullRequest: closed,
        approvals: rule.required_approvals,
        statusChecks: checkNames.some((pattern) => fits(pattern, check)),
        checkNames,
        upToDate: rule.block_on_outdated_branch ?? null,
        dismissesStale: rule.dismiss_stale_approvals ?? null,
        administrators: flags.length === 0 ? null : flags.includes(true),
        pushers: closed ? 'nobody' : 'others',
      };
    },
  });
};

/** Its patterns (gobwas/glob without separators) have a `*` that goes over slashes too; what else they can say is not understood, and fits nothing. */
function fits(pattern: string, check: string): boolean {
  return pattern === check || matchesRef(pattern.replaceAll(/\*+/g, '**'), check);
}
