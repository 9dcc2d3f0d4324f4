import { z } from 'zod';
import type { MarkedIssue } from '../../domain/finding-issues.ts';
import { type ForgeHttp, createForgeHttp } from '../forge-apis/http.ts';
import { type CreateIssueTracker, issueLabel, mostPages } from './port.ts';

const Issue = z.looseObject({
  number: z.number(),
  state: z.enum(['open', 'closed']),
  title: z.string(),
  body: z.string().nullish(),
});
const Label = z.looseObject({ id: z.number(), name: z.string() });
const Comment = z.looseObject({ id: z.number() });

/** Gitea gives out no more at once by default. */
const perPage = 50;
/** Of the label, where it has to be made: dark red. */
const colour = '#b60205';

/** Gitea and Forgejo, whose labels go by number and have to be made first. */
export const createGiteaIssues: CreateIssueTracker = ({ url = 'https://gitea.com', token, ...options }) => {
  const http = createForgeHttp({
    ...options,
    forge: 'Gitea',
    base: `${url}/api/v1/repos/${options.repository.split('/').map(encodeURIComponent).join('/')}`,
    authorization: `token ${token}`,
  });

  async function pages<T>(
    path: string,
    item: z.ZodType<T>,
    query: Readonly<Record<string, string>>,
  ): Promise<readonly T[]> {
    const found: T[] = [];
    for (let page = 1; page <= (mostPages * 100) / perPage; page += 1) {
      const asked = { ...query, page: String(page), limit: String(perPage) };
      const part = await http.ask('GET', path, { answer: z.array(item), query: asked });
      found.push(...part);
      if (part.length < perPage) break;
    }
    return found;
  }

  async function labelId(): Promise<number> {
    const known = (await pages('/labels', Label, {})).find(({ name }) => name === issueLabel);
    const body = { name: issueLabel, color: colour };
    return (known ?? (await http.ask('POST', '/labels', { answer: Label, body }))).id;
  }

  return Promise.resolve({
    list: () =>
      http.attempt(async (): Promise<readonly MarkedIssue[]> => {
        const found = await pages('/issues', Issue, { state: 'all', type: 'issues', labels: issueLabel });
        return found.map(({ number, state, title, body }) => ({
          number,
          open: state === 'open',
          title,
          body: body ?? '',
        }));
      }),
    async create({ title, body }) {
      const labels = [await http.attempt(labelId)];
      // Made once: an answer that was lost may have made it.
      await single(http, () => http.ask('POST', '/issues', { answer: Issue, body: { title, body, labels } }));
    },
    update: ({ number, title, body, open }) =>
      http.attempt(async () => {
        const state = open ? 'open' : 'closed';
        await http.ask('PATCH', `/issues/${number}`, { answer: Issue, body: { title, body, state } });
      }),
    comment: (number, body) =>
      single(http, () => http.ask('POST', `/issues/${number}/comments`, { answer: Comment, body: { body } })),
  });
};

/** Said once: an answer that was lost may have been a yes, and whoever comes again lists first. */
async function single(http: ForgeHttp, work: () => Promise<unknown>): Promise<void> {
  const first = work();
  // The second look at the same answer.
  await http.attempt(() => first);
}
