import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { ProviderError } from '../../domain/failures.ts';
import { githubAnswer, githubOptions, githubPlace } from '../forge-apis/github-client.ts';
import { issueError } from '../forge-issues/port.ts';
import type { CreateCodeScanning, ScanningAnswer } from './port.ts';

/** GitHub takes this much after gzip (docs.github.com, SARIF support). */
const mostBytes = 10 * 1024 * 1024;
/** Between two looks at the result, ms, at first and at most. Judgement. */
const firstPauseMs = 250;
const longestPauseMs = 4_000;

/** GitHub and GitHub Enterprise with code scanning. */
export const createGithubScanning: CreateCodeScanning = async (options) => {
  const { Octokit } = await import('@octokit/rest');
  const place = githubPlace(options);
  const octokit = new Octokit(githubOptions(options));

  async function asked<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw issueError('GitHub', options, githubAnswer(error));
    }
  }

  async function resultOf(id: string): Promise<ScanningAnswer> {
    const { data } = await asked(() => octokit.rest.codeScanning.getSarif({ ...place, sarif_id: id }));
    if (data.processing_status === 'complete') return { kind: 'complete' };
    if (data.processing_status === 'failed') return { kind: 'failed', errors: data.errors ?? [] };
    return { kind: 'pending' };
  }

  return {
    async upload({ commit, ref, sarif }, deadline) {
      const packed = await promisify(gzip)(JSON.stringify(sarif));
      if (packed.length > mostBytes) {
        throw new ProviderError(
          'ForgeRefused',
          `The findings of ${options.repository} are ${packed.length} bytes after gzip; GitHub takes ${mostBytes}.`,
        );
      }
      const end = Date.now() + deadline;
      const { data } = await asked(() =>
        octokit.rest.codeScanning.uploadSarif({
          ...place,
          commit_sha: commit,
          ref,
          sarif: packed.toString('base64'),
        }),
      );
      const { id } = data;
      if (id === undefined) return { kind: 'pending' };
      for (let pause = firstPauseMs; ; pause = Math.min(longestPauseMs, pause * 2)) {
        const answer = await resultOf(id);
        if (answer.kind !== 'pending' || Date.now() + pause > end) return answer;
        await delay(pause);
      }
    },
  };
};
