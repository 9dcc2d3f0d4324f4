import type { Client, PageLinks } from '../client.ts';

/** Where a browser finds the pages of a run; whoever has one of these can read it until then. */
export function linkLines(
  { until, report, pages, documentation }: PageLinks,
  { connection: { url } }: Pick<Client, 'connection'>,
): readonly string[] {
  return [
    `In a browser, for you, until ${until.slice(11, 16)} UTC:`,
    `  report ${url}${report}`,
    ...pages.map(({ stage, path, link }) => `  ${stage}: ${path} ${url}${link}`),
    ...documentation.map(({ stage, name, link }) => `  documentation ${stage}/${name} ${url}${link}`),
  ];
}
