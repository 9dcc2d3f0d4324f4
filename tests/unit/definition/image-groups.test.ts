import { describe, expect, test } from '@jest/globals';
import { imagesOf } from '../../../src/definition/image-groups.ts';
import { type ResolveOptions, resolvePipeline } from '../../../src/definition/pipeline.ts';
import { routesOf } from '../../../src/definition/routes.ts';
import { pairOf, problemsOf, projectText, repositoryText } from './documents.ts';

const grouped = (groups = '', images = ''): string =>
  repositoryText.replace(
    '  - name: app\n',
    `  - name: app\n  - { name: api, group: services }\n  - { name: grafana, group: monitoring }\n${images}`,
  ) + (groups === '' ? '' : `imageGroups: ${groups}\n`);

const push = { kind: 'push', ref: 'refs/heads/main' } as const;

function chosen(
  repository: string,
  { imageGroups, ...facts }: Partial<NonNullable<ResolveOptions['facts']>> & Pick<ResolveOptions, 'imageGroups'> = {},
): { readonly names: readonly string[]; readonly others: readonly string[] } {
  const { images, otherImages } = resolvePipeline(pairOf({ repository }), {
    facts: { event: push, parameters: {}, changed: undefined, ...facts },
    ...(imageGroups === undefined ? {} : { imageGroups }),
  });
  return { names: images.map(({ name }) => name), others: otherImages.map(({ name, why }) => `${name}: ${why}`) };
}

describe('groups of images', () => {
  test('are all built where nobody says otherwise', () => {
    expect(chosen(grouped())).toEqual({ names: ['app', 'api', 'grafana'], others: [] });
  });

  test('are those that the route names, beside images without a group', () => {
    expect(chosen(grouped(), { imageGroups: ['monitoring'] })).toEqual({
      names: ['app', 'grafana'],
      others: ['api: The route builds monitoring, not services.'],
    });
    expect(chosen(grouped(), { imageGroups: [] }).names).toEqual(['app']);
  });

  test('may be asked for by a parameter', () => {
    const repository = grouped('{ monitoring: { when: { parameter: { IMAGES: [all, monitoring] } } } }');
    expect(chosen(repository, { parameters: { IMAGES: 'all' } }).names).toContain('grafana');
    expect(chosen(repository, { parameters: { IMAGES: 'app' } }).others).toEqual([
      'grafana: The parameter IMAGES is not all or monitoring.',
    ]);
    expect(chosen(repository).others).toEqual(['grafana: The run has no parameter IMAGES.']);
  });

  test('may be built only where their files changed', () => {
    const repository = grouped('{ monitoring: { when: { path: ["monitoring/**"] } } }');
    expect(chosen(repository, { changed: ['src/a.ts'] }).names).toEqual(['app', 'api']);
    expect(chosen(repository, { changed: ['monitoring/a.json'] }).names).toContain('grafana');
    expect(chosen(repository).names).toContain('grafana');
  });

  test('keep their limit with their images', () => {
    const { images } = resolvePipeline(pairOf({ repository: grouped('{ services: { concurrency: 2 } }') }));
    expect(images.map(({ group }) => group)).toEqual([
      undefined,
      { name: 'services', concurrency: 2 },
      { name: 'monitoring' },
    ]);
  });

  test('stand in the routes of the project', () => {
    const routes = 'routes: [{ on: push, ref: main, environments: [production], imageGroups: [services] }]\n';
    expect(routesOf(pairOf({ project: projectText + routes }).project)[0]).toMatchObject({ imageGroups: ['services'] });
  });

  test.each([
    [
      'a group without an image',
      { repository: grouped('{ servces: {} }') },
      'imageGroups.servces is a group that no image is in',
    ],
    [
      'a route that leaves out what it deploys',
      {
        repository: grouped().replace('image: app', 'image: api'),
        project: `${projectText}routes: [{ on: push, environments: [production], imageGroups: [monitoring] }]\n`,
      },
      'routes[0].imageGroups leaves out `services`, the group of the image `api` that this route deploys',
    ],
    [
      'groups of a route that builds nothing',
      { project: `${projectText}routes: [{ on: push, imageGroups: [services] }]\n` },
      'routes[0].imageGroups is there, but this route builds no image',
    ],
  ])('refuse %s', (_, texts, problem) => {
    expect(problemsOf(texts)).toContain(problem);
  });
});

describe('a matrix of images', () => {
  const matrix = (values: string, more = ''): string =>
    grouped('', `  - { name: spark, group: services, matrix: { values: ${values} }${more} }\n`);

  test('makes one of each combination, with its values as arguments', () => {
    const repository = matrix('{ SPARK: ["3.5", "3.6"], JAVA: [17] }', ', args: { BASE: "java:{JAVA}", JAVA: "21" }');
    expect(imagesOf(pairOf({ repository }).repository).slice(3)).toMatchObject([
      { name: 'spark-3-5-17', group: 'services', args: { SPARK: '3.5', JAVA: '21', BASE: 'java:17' } },
      { name: 'spark-3-6-17', args: { SPARK: '3.6', JAVA: '21', BASE: 'java:17' } },
    ]);
    expect(resolvePipeline(pairOf({ repository })).images.at(-1)).toMatchObject({
      repository: 'registry.example:5000/shop/spark-3-6-17',
      args: { SPARK: '3.6' },
    });
  });

  test('may be what the service runs, by the name of one of them', () => {
    const repository = matrix('{ SPARK: ["3.5", "3.6"] }').replace('image: app', 'image: spark-3-6');
    expect(problemsOf({ repository })).toEqual([]);
    expect(problemsOf({ repository: repository.replace('image: spark-3-6', 'image: spark') })).toContain(
      'service.image is `spark`, which is none of the images',
    );
  });

  test.each([
    ['no combination', '{}', '', 'images[3].matrix makes no combination'],
    ['two of one name', '{ A: ["3.5", "3-5"] }', '', 'images[3].matrix makes a second image `spark-3-5`'],
    [
      'an argument that no value fills',
      '{ A: ["1"] }',
      ', args: { BASE: "java:{JAVA}" }',
      'images[3].args.BASE has `{JAVA}`, which is no value of the matrix in every combination',
    ],
    [
      'more than a run may have',
      `{ A: [${Array.from({ length: 60 }, (__, index) => index).join(', ')}] }`,
      '',
      'images make 63 with all their combinations, more than the 50 that a run may have',
    ],
  ])('refuses %s', (_, values, more, problem) => {
    expect(problemsOf({ repository: matrix(values, more) })).toContain(problem);
  });
});
