/** Releases, as GitHub and GitLab have them (docs.github.com REST, releases; docs.gitlab.com, releases API). */
import { z } from 'zod';
import type { Asked, Endpoint, Shared } from './forge-stand-ins.ts';
import { githubBody } from './published-requests.ts';

export function githubReleases(known: Shared, repository: string): readonly Endpoint[] {
  const shown = ({ tag }: { readonly tag: string }): unknown => ({
    tag_name: tag,
    html_url: `https://github.com/team/app/releases/tag/${tag}`,
  });
  return [
    {
      method: 'GET',
      path: new RegExp(`${repository}/releases/tags/([^/]+)$`),
      answer({ params }) {
        const one = known.releases.find(({ tag }) => tag === params[0]);
        return one === undefined ? [404, { message: 'Not Found' }] : [200, shown(one)];
      },
    },
    {
      method: 'POST',
      path: new RegExp(`${repository}/releases$`),
      body: githubBody('repos/create-release')({
        tag_name: z.string(),
        target_commitish: z.string().optional(),
        name: z.string().optional(),
        body: z.string().optional(),
        draft: z.boolean().optional(),
        prerelease: z.boolean().optional(),
        discussion_category_name: z.string().optional(),
        generate_release_notes: z.boolean().optional(),
        make_latest: z.enum(['true', 'false', 'legacy']).optional(),
      }),
      answer({ body }) {
        const { tag_name: tag, target_commitish: commit, name, body: notes } = body as Record<string, string>;
        if (known.releases.some((release) => release.tag === tag)) return [422, { message: 'Validation Failed' }];
        const one = { tag: tag ?? '', commit: commit ?? '', name: name ?? '', notes: notes ?? '' };
        known.releases.push(one);
        return [201, shown(one)];
      },
    },
  ];
}

export function gitlabReleases(
  known: Shared,
  project: string,
  fields: (asked: Asked) => Record<string, unknown>,
): readonly Endpoint[] {
  const shown = ({ tag }: { readonly tag: string }): unknown => ({
    tag_name: tag,
    _links: { self: `https://gitlab.com/team/app/-/releases/${tag}` },
  });
  return [
    {
      method: 'GET',
      path: new RegExp(`${project}/releases/([^/]+)$`),
      query: z.strictObject({ include_html_description: z.string().optional() }),
      answer({ params }) {
        const one = known.releases.find(({ tag }) => tag === params[0]);
        return one === undefined ? [404, { message: '404 Not Found' }] : [200, shown(one)];
      },
    },
    {
      method: 'POST',
      path: new RegExp(`${project}/releases$`),
      body: z.strictObject({
        name: z.string().optional(),
        tag_name: z.string(),
        tag_message: z.string().optional(),
        description: z.string().optional(),
        ref: z.string().optional(),
        milestones: z.array(z.string()).optional(),
        released_at: z.string().optional(),
      }),
      answer(asked) {
        const {
          name = '',
          tag_name: tag = '',
          description: notes = '',
          ref: commit = '',
        } = fields(asked) as Record<string, string>;
        if (known.releases.some((release) => release.tag === tag)) return [409, { message: 'Release already exists' }];
        const one = { tag, commit, name, notes };
        known.releases.push(one);
        return [201, shown(one)];
      },
    },
  ];
}
