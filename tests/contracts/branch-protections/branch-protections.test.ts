import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { type BranchProtection, unprotected } from '../../../src/domain/branch-protection.ts';
import { type ProtectionKind, branchProtections } from '../../../src/providers/branch-protections/index.ts';
import {
  type GithubProtection,
  type GithubRule,
  type GithubRuleset,
  type GiteaRule,
  type ProtectionStandIn,
  giteaRules,
  startProtectionStandIn,
} from '../../support/protection-stand-ins.ts';

const token = 'secret-token';
const check = 'slipway/hello';
let forge: ProtectionStandIn;

async function read(kind: ProtectionKind, given = token): Promise<BranchProtection> {
  const create = branchProtections[kind];
  const reader = await create({ url: forge.url, token: given, repository: 'team/app', timeoutMs: 2_000 });
  return await reader.read('main', check);
}

const full: BranchProtection = {
  pullRequest: true,
  approvals: 1,
  statusChecks: true,
  upToDate: true,
  dismissesStale: true,
  administrators: true,
  pushers: 'nobody',
};

/** What each forge answers for a branch that is protected in every way, and for one that is not; and what it calls the checks. */
const scenes: Readonly<
  Record<
    ProtectionKind,
    { readonly full: () => void; readonly open: () => void; readonly names: Pick<BranchProtection, 'checkNames'> }
  >
> = {
  github: {
    names: { checkNames: [check] },
    full: () => github(classic(), []),
    open: () => github(undefined, []),
  },
  gitlab: {
    names: {},
    full: () => gitlab({}),
    open: () =>
      gitlab({
        branches: [],
        project: { only_allow_merge_if_pipeline_succeeds: false, merge_method: 'merge' },
        rules: [],
        approvals: { reset_approvals_on_push: false },
      }),
  },
  gitea: {
    names: { checkNames: [check] },
    full: () => gitea([rule({})]),
    open: () => gitea([rule({ rule_name: 'release/*' })]),
  },
};

describe.each(Object.keys(branchProtections) as ProtectionKind[])('%s', (kind) => {
  beforeEach(async () => {
    forge = await startProtectionStandIn(kind, token);
  });
  afterEach(async () => {
    await forge.close();
    expect(forge.violations).toEqual([]);
  });

  test('tells what it asks of a protected branch, and that it asks nothing of another', async () => {
    scenes[kind].full();
    expect(await read(kind)).toEqual({ ...full, ...scenes[kind].names });
    scenes[kind].open();
    expect(await read(kind)).toEqual(unprotected);
  });

  test('that refuses says nothing of the branch, and its token is not told', async () => {
    scenes[kind].full();
    for (const path of forge.answers.keys()) forge.answers.set(path, [403, { message: 'Forbidden' }]);
    await expect(read(kind)).rejects.toMatchObject({ type: 'ForgeRefused', retryable: false });
    const wrong: unknown = await read(kind, 'another-token').catch((error: unknown) => error);
    expect(wrong).toMatchObject({ type: 'ForgeRefused' });
    expect(JSON.stringify([wrong, String(wrong)])).not.toContain('another-token');
  }, 30_000);

  test('that is at fault or away is unavailable', async () => {
    scenes[kind].full();
    for (const path of forge.answers.keys()) forge.answers.set(path, [500, { message: 'oops' }]);
    await expect(read(kind)).rejects.toMatchObject({ type: 'ForgeUnavailable', retryable: true });
    await forge.close();
    await expect(read(kind)).rejects.toMatchObject({ type: 'ForgeUnavailable', retryable: true });
  }, 60_000);
});

describe('GitHub', () => {
  beforeEach(async () => {
    forge = await startProtectionStandIn('github', token);
  });
  afterEach(async () => {
    await forge.close();
    expect(forge.violations).toEqual([]);
  });

  test('that does not let a token see the protection answers 404, which is no open branch', async () => {
    github(undefined, []);
    forge.answers.set('/repos/team/app/branches/main/protection', [404, { message: 'Not Found' }]);
    await expect(read('github')).rejects.toMatchObject({ type: 'ForgeRefused' });
  });

  test('asks what its rulesets ask together', async () => {
    github(undefined, pullRule(7), ruleset(7, []), checksRule(8), ruleset(8, []));
    expect(await read('github')).toEqual({ ...full, checkNames: [check] });
  });

  test('whose rulesets let somebody past includes no administrators', async () => {
    github(undefined, pullRule(7), ruleset(7, ['OrganizationAdmin']));
    expect(await read('github')).toMatchObject({ administrators: false, pushers: 'administrators' });
    github(undefined, pullRule(7), ruleset(7, ['Team']));
    expect(await read('github')).toMatchObject({ administrators: false, pushers: 'others' });
    // By its own protection nobody gets past, whatever the ruleset says.
    github(classic(), pullRule(7), ruleset(7, ['Team']));
    expect(await read('github')).toEqual({ ...full, checkNames: [check] });
  });

  test('finds the check among those of all rulesets, and binds administrators by those that have it', async () => {
    github(undefined, pullRule(7), ruleset(7, []), checksRule(8, ['lint']), ruleset(8, []));
    expect(await read('github')).toMatchObject({ statusChecks: false, checkNames: ['lint'] });
    github(undefined, pullRule(7), ruleset(7, []), checksRule(8, ['lint', check]), ruleset(8, []));
    expect(await read('github')).toMatchObject({
      statusChecks: true,
      checkNames: ['lint', check],
      administrators: true,
    });
    // What the project does not ask for may be passed by.
    github(classic(), checksRule(8, ['lint']), ruleset(8, ['OrganizationAdmin']));
    expect(await read('github')).toMatchObject({ statusChecks: true, administrators: true });
    const elsewhere = { contexts: ['lint'], checks: [], strict: true };
    github({ ...classic(), required_status_checks: elsewhere }, checksRule(8), ruleset(8, ['OrganizationAdmin']));
    expect(await read('github')).toMatchObject({ statusChecks: true, administrators: false });
  });

  test('who may pass is only told to those who may change it', async () => {
    github(undefined, pullRule(7), ruleset(7, undefined));
    expect(await read('github')).toMatchObject({ pullRequest: true, administrators: null, pushers: null });
  });

  test.each<[string, Partial<GithubProtection>, Partial<BranchProtection>]>([
    [
      'administrators',
      { enforce_admins: { url: '', enabled: false } },
      { administrators: false, pushers: 'administrators' },
    ],
    [
      'without checks',
      { required_status_checks: { contexts: [], checks: [], strict: true } },
      { statusChecks: false, checkNames: [] },
    ],
    [
      'with the check among those of apps',
      { required_status_checks: { contexts: [], checks: [{ context: check, app_id: null }], strict: true } },
      { statusChecks: true, checkNames: [check] },
    ],
    [
      'with checks of others only',
      {
        required_status_checks: {
          contexts: ['cla/signed', 'slipway/hello/test', 'slipway/hell', 'slipway', 'slipway/*'],
          checks: [{ context: 'cla/signed', app_id: 7 }],
          strict: true,
        },
      },
      {
        statusChecks: false,
        checkNames: ['cla/signed', 'slipway/hello/test', 'slipway/hell', 'slipway', 'slipway/*'],
        administrators: true,
      },
    ],
    [
      'with people who may go past',
      {
        required_pull_request_reviews: {
          dismiss_stale_reviews: false,
          require_code_owner_reviews: false,
          bypass_pull_request_allowances: { users: [{ login: 'ada' }] as never },
        },
      },
      { approvals: 0, dismissesStale: false, pushers: 'others' },
    ],
  ])('%s', async (_, change, expected) => {
    github({ ...classic(), ...change }, []);
    expect(await read('github')).toMatchObject(expected);
  });
});

describe('GitLab', () => {
  beforeEach(async () => {
    forge = await startProtectionStandIn('gitlab', token);
  });
  afterEach(async () => {
    await forge.close();
    expect(forge.violations).toEqual([]);
  });

  test('that has no approvals, or does not show them, does not say how many are needed', async () => {
    gitlab({});
    forge.answers.set('/projects/team%2Fapp/approvals', [404, { message: '404 Not Found' }]);
    forge.answers.set('/projects/team%2Fapp/approval_rules', [404, { message: '404 Not Found' }]);
    expect(await read('gitlab')).toEqual({ ...full, approvals: null, dismissesStale: null });
  });

  test('lets push who any of the rules for the branch lets push', async () => {
    const level = (access_level: number, more = {}) => [{ access_level, access_level_description: '', ...more }];
    const main = { name: 'main', push_access_levels: level(0) };
    gitlab({ branches: [main, { name: 'm*', push_access_levels: level(40) }] });
    expect(await read('gitlab')).toMatchObject({ pullRequest: false, pushers: 'others' });
    gitlab({ branches: [{ name: '*', push_access_levels: level(60) }] });
    expect(await read('gitlab')).toMatchObject({ pushers: 'administrators', administrators: false });
    gitlab({ branches: [{ name: 'main', push_access_levels: level(60, { deploy_key_id: 3 }) }] });
    expect(await read('gitlab')).toMatchObject({ pushers: 'others' });
  });

  test('counts the approvals of rules for this branch, and no skipped pipeline', async () => {
    const elsewhere = { approvals_required: 5, protected_branches: [{ name: 'release/*' }] };
    gitlab({
      rules: [{ approvals_required: 2, protected_branches: [{ name: 'main' }] }, elsewhere],
      project: {
        only_allow_merge_if_pipeline_succeeds: true,
        allow_merge_on_skipped_pipeline: true,
        merge_method: 'ff',
      },
    });
    expect(await read('gitlab')).toMatchObject({ approvals: 2, statusChecks: false, upToDate: true });
  });
});

describe('Gitea', () => {
  beforeEach(async () => {
    forge = await startProtectionStandIn('gitea', token);
  });
  afterEach(async () => {
    await forge.close();
    expect(forge.violations).toEqual([]);
  });

  test('asks what the rule with the name of the branch asks, before patterns', async () => {
    gitea([rule({ rule_name: '**', required_approvals: 9 }), rule({ required_approvals: 2 })]);
    expect(await read('gitea')).toMatchObject({ approvals: 2 });
    gitea([rule({ rule_name: 'ma*', required_approvals: 3 })]);
    expect(await read('gitea')).toMatchObject({ approvals: 3 });
  });

  test('lets push whom it lists, and what an older one does not say is not known', async () => {
    gitea([rule({ enable_push: true, enable_push_whitelist: true, push_whitelist_usernames: ['ada'] })]);
    expect(await read('gitea')).toMatchObject({ pullRequest: false, pushers: 'others' });
    gitea([rule({ enable_push: true, enable_push_whitelist: true })]);
    expect(await read('gitea')).toMatchObject({ pullRequest: true, pushers: 'nobody' });
    gitea([rule({ block_admin_merge_override: undefined })]);
    expect(await read('gitea')).toMatchObject({ administrators: null });
    gitea([rule({ block_admin_merge_override: undefined, apply_to_admins: true })]);
    expect(await read('gitea')).toMatchObject({ administrators: true });
  });

  test.each([
    [['cla/signed'], false],
    [[], false],
    [['slipway'], false],
    [['slipway/hello/test'], false],
    [['slipway/hello/*'], false],
    [['slipway/*/test'], false],
    [['Slipway/hello'], false],
    [['cla/signed', 'slipway/hello'], true],
    [['slipway/*'], true],
    [['slipway/**'], true],
    // Its star also goes over slashes.
    [['*'], true],
    [['sl*llo'], true],
    [['{lint,slipway/hello}'], true],
    [['slipway/hell?'], true],
    // Not understood here, and so not believed.
    [['slipway/[a-z]ello'], false],
  ])('with the contexts %j asks for the check: %s', async (contexts, expected) => {
    gitea([rule({ status_check_contexts: contexts })]);
    expect(await read('gitea')).toMatchObject({ statusChecks: expected, checkNames: contexts });
    // As long as it looks at them at all.
    gitea([rule({ status_check_contexts: contexts, enable_status_check: false })]);
    expect(await read('gitea')).toMatchObject({ statusChecks: false, checkNames: [] });
  });

  test('that names no contexts asks for none', async () => {
    gitea([rule({ status_check_contexts: null as never })]);
    expect(await read('gitea')).toMatchObject({ statusChecks: false, checkNames: [] });
  });

  test('that answers something else is unavailable, not open', async () => {
    forge.answers.set('/repos/team/app/branch_protections', [200, [{ rule_name: 'main' }]]);
    await expect(read('gitea')).rejects.toMatchObject({ type: 'ForgeUnavailable' });
  });
});

function classic(): GithubProtection {
  return {
    required_status_checks: { contexts: [check], checks: [], strict: true },
    enforce_admins: { url: '', enabled: true },
    required_pull_request_reviews: {
      dismiss_stale_reviews: true,
      require_code_owner_reviews: false,
      required_approving_review_count: 1,
    },
  };
}

type Piece = { readonly rule: GithubRule } | { readonly ruleset: GithubRuleset & { readonly id: number } };

function pullRule(id: number): Piece {
  return {
    rule: {
      type: 'pull_request',
      ruleset_id: id,
      parameters: {
        dismiss_stale_reviews_on_push: true,
        require_code_owner_review: false,
        require_last_push_approval: false,
        required_approving_review_count: 1,
        required_review_thread_resolution: false,
      },
    },
  };
}

function checksRule(id: number, contexts = [check]): Piece {
  return {
    rule: {
      type: 'required_status_checks',
      ruleset_id: id,
      parameters: {
        required_status_checks: contexts.map((context) => ({ context })),
        strict_required_status_checks_policy: true,
      },
    },
  };
}

function ruleset(id: number, past: readonly ('OrganizationAdmin' | 'Team')[] | undefined): Piece {
  const actors = past?.map((type) => ({ actor_id: 1, actor_type: type, bypass_mode: 'always' as const }));
  return { ruleset: { id, name: `set ${id}`, ...(actors === undefined ? {} : { bypass_actors: actors }) } };
}

function github(own: GithubProtection | undefined, ...pieces: readonly (Piece | readonly [])[]): void {
  forge.answers.clear();
  const given = pieces.flat() as readonly Piece[];
  forge.answers.set(
    '/repos/team/app/branches/main/protection',
    own === undefined ? [404, { message: 'Branch not protected' }] : [200, own],
  );
  forge.answers.set('/repos/team/app/rules/branches/main?per_page=100', [
    200,
    given.flatMap((piece) => ('rule' in piece ? [piece.rule] : [])),
  ]);
  for (const piece of given) {
    if (!('ruleset' in piece)) continue;
    forge.answers.set(`/repos/team/app/rulesets/${piece.ruleset.id}?includes_parents=true`, [200, piece.ruleset]);
  }
}

function gitlab({
  project = { only_allow_merge_if_pipeline_succeeds: true, merge_method: 'ff' },
  branches = [{ name: 'main', push_access_levels: [{ access_level: 0, access_level_description: 'No one' }] }],
  approvals = { reset_approvals_on_push: true },
  rules = [{ approvals_required: 1 }],
}: {
  readonly project?: object;
  readonly branches?: readonly object[];
  readonly approvals?: object;
  readonly rules?: readonly object[];
}): void {
  forge.answers.set('/projects/team%2Fapp', [200, { id: 1, path_with_namespace: 'team/app', ...project }]);
  forge.answers.set('/projects/team%2Fapp/protected_branches?per_page=100', [200, branches]);
  forge.answers.set('/projects/team%2Fapp/approvals', [200, approvals]);
  forge.answers.set('/projects/team%2Fapp/approval_rules', [200, rules]);
}

function rule(more: { readonly [Field in keyof GiteaRule]?: GiteaRule[Field] | undefined }): typeof more {
  return {
    rule_name: 'main',
    enable_push: false,
    enable_push_whitelist: false,
    push_whitelist_usernames: [],
    push_whitelist_teams: [],
    push_whitelist_deploy_keys: false,
    required_approvals: 1,
    enable_status_check: true,
    status_check_contexts: [check],
    block_on_outdated_branch: true,
    dismiss_stale_approvals: true,
    block_admin_merge_override: true,
    ...more,
  };
}

function gitea(rules: readonly ReturnType<typeof rule>[]): void {
  forge.answers.set(giteaRules, [200, rules]);
}
