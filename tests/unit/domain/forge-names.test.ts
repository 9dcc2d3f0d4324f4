import { describe, expect, test } from '@jest/globals';
import { forgeNames } from '../../../src/domain/forge-names.ts';

const everything = (project: string, sole: boolean): readonly string[] => {
  const names = forgeNames(project, sole);
  return [
    ...['slipway', 'slipway/test', 'slipway/deploy', 'slipway/slipway'].map((context) => names.status(context)),
    names.environment('production'),
    names.deploymentStatus('production'),
    names.tag('1.2.0'),
  ];
};

describe('what a project is called at its forge', () => {
  test('has the name of the project', () => {
    expect(everything('shop', false)).toEqual([
      ...['slipway/shop', 'slipway/shop/test', 'slipway/shop/deploy', 'slipway/shop/slipway'],
      ...['shop/production', 'slipway/shop/deploy/production', 'shop/1.2.0'],
    ]);
  });

  test('is short where no other one looks at the repository', () => {
    expect(everything('shop', true)).toEqual([
      ...['slipway', 'slipway/test', 'slipway/deploy', 'slipway/slipway'],
      ...['production', 'slipway/deploy/production', '1.2.0'],
    ]);
  });

  test('is not that of the check where a run was no check of the commit', () => {
    const names = forgeNames('shop', false);
    expect(names.required).toBe('slipway/shop');
    expect(names.status('slipway', 'schedule')).toBe('slipway/shop (schedule)');
    expect(names.status('slipway/test', 'started')).toBe('slipway/shop/test (started)');
    expect(forgeNames('shop', true).required).toBe('slipway');
  });

  test.each([
    ['shop', 'docs'],
    ['shop', 'shop-docs'],
    ['deploy', 'production'],
    ['test', 'slipway'],
  ])('%s and %s have no name in common', (one, other) => {
    const names = [...everything(one, false), ...everything(other, false)];
    expect(new Set(names).size).toBe(names.length);
  });
});
